package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/test/wait"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// What chaos asks of brokers and controllers, and no worker does.
const (
	updateBrokerConfig = 25
	syncStateData      = 1006
	readAndWrite       = "6"
)

// controllerPort is above the base.
const controllerPort = 2

var errAnswer = errors.New("the answer is no success")

// refusal is an answer of another code than success.
type refusal struct{ code int }

func (r refusal) Error() string { return fmt.Sprintf("code %d", r.code) }

// ask asks one server once, on a connection of its own: what broke the one before does not matter.
func ask(ctx context.Context, addr string, cmd remoting.Command) (*remoting.Command, error) {
	pool := remoting.NewPool(remoting.TCP(time.Second), time.Second, remoting.Credentials{})
	defer pool.Close()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	answer, err := pool.Call(ctx, addr, "chaos", &cmd)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", addr, err)
	}
	if answer.Code != remoting.Success {
		return nil, fmt.Errorf("asking %s: %w: %w, %s", addr, errAnswer, refusal{answer.Code}, answer.Remark)
	}
	return answer, nil
}

// Configure sets one key of a broker that runs.
func (s *Stack) Configure(ctx context.Context, b Broker, key, value string) error {
	_, err := ask(ctx, s.AddressOf(b), remoting.Command{Code: updateBrokerConfig, Body: []byte(key + "=" + value + "\n")})
	if err != nil {
		return fmt.Errorf("setting %s: %w", key, err)
	}
	return nil
}

// CreateTopic makes a topic on one broker alone, as whoever brings an empty one back has to.
func (s *Stack) CreateTopic(ctx context.Context, b Broker, topic string, queues int) error {
	n := strconv.Itoa(queues)
	_, err := ask(ctx, s.AddressOf(b), remoting.Command{Code: remoting.CreateTopic, Fields: []remoting.Field{
		{Name: "topic", Value: topic}, {Name: "defaultTopic", Value: "TBW102"}, {Name: "readQueueNums", Value: n},
		{Name: "writeQueueNums", Value: n}, {Name: "perm", Value: readAndWrite}, {Name: "topicFilterType", Value: "SINGLE_TAG"},
		{Name: "topicSysFlag", Value: "0"}, {Name: "order", Value: "false"},
	}})
	if err != nil {
		return fmt.Errorf("creating topic %s: %w", topic, err)
	}
	return nil
}

// fillerTopic takes what chaos itself sends; no worker reads it.
const fillerTopic = "chaos-filler"

// put has a broker store one record of a size.
func (s *Stack) put(ctx context.Context, b Broker, size int) error {
	_, err := ask(ctx, s.AddressOf(b), remoting.Command{Code: remoting.SendMessageV2, Body: make([]byte, size), Fields: []remoting.Field{
		{Name: "a", Value: "chaos"}, {Name: "b", Value: fillerTopic}, {Name: "c", Value: "TBW102"}, {Name: "d", Value: "1"},
		{Name: "e", Value: "0"}, {Name: "f", Value: "0"}, {Name: "g", Value: strconv.FormatInt(time.Now().UnixMilli(), 10)},
		{Name: "h", Value: "0"}, {Name: "i", Value: ""}, {Name: "j", Value: "0"}, {Name: "k", Value: "false"}, {Name: "m", Value: "false"},
		{Name: "n", Value: b.Name},
	}})
	return err
}

// Clog sends a master more than the network holds between it and its frozen replica: what is stored after that is lost
// with the master.
func (s *Stack) Clog(ctx context.Context, b Broker) error {
	const records, size = 32, 1 << 20
	for range records {
		if err := s.put(ctx, b, size); err != nil {
			return fmt.Errorf("clogging the replication of %s: %w", b.Process, err)
		}
	}
	return nil
}

// Refuses waits until a broker takes no record, as one does whose disk is full.
func (s *Stack) Refuses(ctx context.Context, b Broker) error {
	return wait.Until(ctx, 500*time.Millisecond, func(ctx context.Context) error {
		var no refusal
		if err := s.put(ctx, b, 1); errors.As(err, &no) && no.code == remoting.ServiceNotAvailable {
			return nil
		}
		return fmt.Errorf("%w: %s takes records still", errAnswer, b.Process)
	})
}

// Takes waits until it takes records again.
func (s *Stack) Takes(ctx context.Context, b Broker) error {
	return wait.Until(ctx, 200*time.Millisecond, func(ctx context.Context) error { return s.put(ctx, b, 1) })
}

// inSync says by a controller's answer which replicas of a broker's name it may elect.
func inSync(body []byte, name string) (int, error) {
	var info struct {
		Replicas map[string]struct {
			InSync []json.RawMessage `json:"inSyncReplicas"`
		} `json:"replicasInfoTable"`
	}
	if err := remoting.UnmarshalBody(body, &info); err != nil {
		return 0, fmt.Errorf("reading what the controller says of %s: %w", name, err)
	}
	return len(info.Replicas[name].InSync), nil
}

// Whole waits until all brokers are listed by all name servers and each name has a master; with a controller, until it
// may elect any replica; and until replicas know the topics, for which they ask their master every 10 s: one that is
// elected before that does not have a topic that was just made.
func (s *Stack) Whole(ctx context.Context, topics ...string) error {
	for _, b := range s.Brokers {
		if err := s.Listed(ctx, b); err != nil {
			return err
		}
	}
	return wait.Until(ctx, 200*time.Millisecond, func(ctx context.Context) error {
		for _, name := range s.MasterNames() {
			if _, err := s.Master(ctx, name); err != nil {
				return err
			}
			if err := s.electable(ctx, name); err != nil {
				return err
			}
		}
		return s.replicasKnow(ctx, topics)
	})
}

func (s *Stack) replicasKnow(ctx context.Context, topics []string) error {
	for _, b := range s.Brokers {
		if _, err := s.ReplicaOf(b); err != nil {
			continue // it has none
		}
		for _, topic := range topics {
			_, err := ask(ctx, s.AddressOf(b), remoting.Command{Code: remoting.TopicConfig, Fields: []remoting.Field{{Name: "topic", Value: topic}}})
			if err != nil {
				return fmt.Errorf("looking for topic %s on %s: %w", topic, b.Process, err)
			}
		}
	}
	return nil
}

func (s *Stack) electable(ctx context.Context, name string) error {
	if s.Name != Controller {
		return nil
	}
	answer, err := ask(ctx, Address(s.Base+controllerPort), remoting.Command{Code: syncStateData, Body: []byte(`["` + name + `"]`)})
	if err != nil {
		return err
	}
	n, err := inSync(answer.Body, name)
	if err == nil && n < len(s.Brokers) {
		err = fmt.Errorf("%w: the controller may elect %d of %d replicas", errUnregistered, n, len(s.Brokers))
	}
	return err
}
