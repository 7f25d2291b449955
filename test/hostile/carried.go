package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/test/chaos/rig"
	"github.com/rocketmq-connect/operator/test/chaos/traffic"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// The connectors of the flow that is checked, and those that carry what is sent to harm.
const (
	sourceName = "in"
	sinkName   = "out"
	tasksEach  = 4

	headersTopic = "hostile-headers" // in Kafka
	propsTopic   = "hostile-props"   // in RocketMQ
	bombsTopic   = "hostile-bombs"   // in Kafka
	wideTopic    = "hostile-wide"    // in Kafka, of many partitions
)

// pair carries the flow's records to RocketMQ and back.
func (s *scene) pair(topic string) []restapi.Connector {
	return []restapi.Connector{
		{
			Name:     sourceName,
			Class:    "KafkaSource",
			MaxTasks: tasksEach,
			Config:   map[string]string{"kafka.topics": topic, "kafka.bootstrap.server": s.kafka()},
		},
		{
			Name:     sinkName,
			Class:    "KafkaSink",
			MaxTasks: tasksEach,
			Config: map[string]string{"topicNames": topic, "kafka.bootstrap.server": s.kafka(),
				"topic.rename.format": "${topic}" + traffic.BackSuffix},
		},
	}
}

// openCarried makes the topics that harm, the wide one with as many partitions as Kafka takes, and returns what carries
// them.
func (s *scene) openCarried(ctx context.Context) ([]restapi.Connector, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka()))
	if err != nil {
		return nil, fmt.Errorf("opening a Kafka client: %w", err)
	}
	defer client.Close()
	admin, suffix := kadm.NewClient(client), "-"+filepath.Base(s.dir)
	made, err := admin.CreateTopics(ctx, 1, 1, nil, headersTopic+suffix, bombsTopic+suffix)
	if err = errors.Join(err, made.Error()); err != nil {
		return nil, fmt.Errorf("creating topics: %w", err)
	}
	for _, n := range []int32{5000, 2000, 1000} {
		made, err := admin.CreateTopics(ctx, n, 1, nil, wideTopic+suffix)
		if err = errors.Join(err, made.Error()); err == nil {
			s.say("A Kafka topic of %d partitions is carried, too", n)
			break
		}
		s.say("Kafka does not take a topic of %d partitions: %s", n, err)
	}
	if _, err := s.rocket.EnsureTopic(ctx, propsTopic+suffix, rmq.TopicSpec{Queues: 1}); err != nil {
		return nil, fmt.Errorf("creating topics: %w", err)
	}
	return []restapi.Connector{
		{Name: "headers", Class: "KafkaSource", MaxTasks: 1, Config: map[string]string{"kafka.topics": headersTopic + suffix,
			"kafka.bootstrap.server": s.kafka(), "errors.tolerance": "all"}},
		{
			Name:     "bombs",
			Class:    "KafkaSource",
			MaxTasks: 1,
			Config:   map[string]string{"kafka.topics": bombsTopic + suffix, "kafka.bootstrap.server": s.kafka()},
		},
		{Name: "props", Class: "KafkaSink", MaxTasks: 1, Config: map[string]string{"topicNames": propsTopic + suffix,
			"kafka.bootstrap.server": s.kafka(), "topic.rename.format": "${topic}-back", "errors.tolerance": "all"}},
		{
			Name:     "wide",
			Class:    "KafkaSource",
			MaxTasks: 2,
			Config:   map[string]string{"kafka.topics": wideTopic + suffix, "kafka.bootstrap.server": s.kafka()},
		},
	}, nil
}

// The headers of one record that harms; of properties, as many as RocketMQ holds.
const (
	manyHeaders    = 100_000
	manyProperties = 5_000
	unfolded       = 90 << 20
)

// produce sends one record, packed well.
func (s *scene) produce(ctx context.Context, r *kgo.Record) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(s.kafka()), kgo.ProducerBatchMaxBytes(unfolded+1<<20), kgo.BrokerMaxWriteBytes(2*unfolded),
		kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	if err != nil {
		return fmt.Errorf("opening a Kafka client: %w", err)
	}
	defer client.Close()
	return client.ProduceSync(ctx, r).FirstErr()
}

func (s *scene) carriedKinds() []*kind {
	suffix := "-" + filepath.Base(s.dir)
	return []*kind{
		{target: "carried", name: "Kafka records with 100,000 headers", times: 60, send: func(ctx context.Context, _ int) (int, error) {
			headers := make([]kgo.RecordHeader, manyHeaders)
			for i := range headers {
				headers[i].Key = "h"
			}
			return 1, s.produce(ctx, &kgo.Record{Topic: headersTopic + suffix, Value: []byte("v"), Headers: headers})
		}},
		{target: "carried", name: "Kafka batches that unfold to 90 MiB", times: 2, send: func(ctx context.Context, _ int) (int, error) {
			return 1, s.produce(ctx, &kgo.Record{Topic: bombsTopic + suffix, Value: make([]byte, unfolded)})
		}},
		{target: "carried", name: "RocketMQ messages with 5,000 properties", times: 100, send: func(ctx context.Context, _ int) (int, error) {
			var wire strings.Builder
			for i := range manyProperties {
				wire.WriteString(strconv.FormatInt(int64(i), 36) + "\x01x\x02")
			}
			return 1, s.raw(ctx, propsTopic+suffix, []byte("v"), wire.String())
		}},
	}
}

var errRefused = errors.New("the broker refused the message")

// raw sends what our own client does not: a message without a value, or with more properties than anybody needs.
func (s *scene) raw(ctx context.Context, topic string, body []byte, properties string) error {
	pool := remoting.NewPool(remoting.TCP(time.Second), time.Second, remoting.Credentials{})
	defer pool.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	broker := s.brokers.Brokers[0]
	answer, err := pool.Call(
		ctx,
		rig.Address(s.brokers.Base+broker.Port),
		"hostile",
		&remoting.Command{Code: remoting.SendMessageV2, Body: body, Fields: []remoting.Field{
			{Name: "a", Value: "hostile"},
			{Name: "b", Value: topic},
			{Name: "c", Value: "TBW102"},
			{Name: "d", Value: "1"},
			{Name: "e", Value: "0"},
			{
				Name:  "f",
				Value: "0",
			},
			{Name: "g", Value: strconv.FormatInt(time.Now().UnixMilli(), 10)},
			{Name: "h", Value: "0"},
			{Name: "i", Value: properties},
			{Name: "j", Value: "0"},
			{Name: "k", Value: "false"},
			{Name: "m", Value: "false"},
			{Name: "n", Value: broker.Name},
		}},
	)
	if err != nil {
		return fmt.Errorf("sending a message: %w", err)
	}
	if answer.Code != remoting.Success {
		return fmt.Errorf("%w: code %d, %s", errRefused, answer.Code, answer.Remark)
	}
	return nil
}
