package rmqtest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// master is one master broker with its data.
type master struct {
	b      *Broker
	name   string
	server atomic.Pointer[server] // where it answers; those before it do not any more
	// orphaned says that while the master is down only its slave is registered.
	orphaned atomic.Bool

	mu      sync.Mutex
	topics  map[string]*topic
	stale   map[string]*topic // lost, and shown by the name server all the same
	groups  map[string]json.RawMessage
	commits map[commitKey]int64
	members map[*peer]member
}

type topic struct {
	compact bool
	perm    int
	queues  []*queue
}

// shape of a topic that is not there, nil, is false.
func (t *topic) shape() (queues, perm int, ok bool) {
	if t == nil {
		return 0, 0, false
	}
	return len(t.queues), t.perm, true
}

// Bits of a topic's permission.
const (
	permWrite = 2
	permRead  = 4
)

type commitKey struct {
	group, topic string
	queue        int
}

// member is what a client said in its heartbeat.
type member struct {
	id     string
	groups []string
}

func newMaster(b *Broker, name string) *master {
	m := &master{
		b: b, name: name, topics: map[string]*topic{}, stale: map[string]*topic{}, groups: map[string]json.RawMessage{},
		commits: map[commitKey]int64{}, members: map[*peer]member{},
	}
	m.server.Store(m.newServer())
	return m
}

// newServer makes a server that serves the master once it is the master's, and refuses what it is sent when it is no
// more.
func (m *master) newServer() *server {
	s := &server{secure: m.b.masterTLS}
	s.handle = func(p *peer, req *remoting.Command) *remoting.Command {
		if m.server.Load() != s {
			return &remoting.Command{Code: remoting.ServiceNotAvailable, Remark: "service not available now: it is no master"}
		}
		return m.handle(p, req)
	}
	return s
}

func (m *master) kill(leaveSlave bool) {
	m.orphaned.Store(leaveSlave)
	m.server.Load().stop()
}

func (m *master) data() string {
	id := 0
	if m.orphaned.Load() && !m.server.Load().running() {
		id = 1
	}
	return fmt.Sprintf(
		`{"brokerAddrs":{%d:%q},"brokerName":%q,"cluster":"DefaultCluster","enableActingMaster":false}`,
		id,
		m.server.Load().addr,
		m.name,
	)
}

// shape is a topic's number of queues and its permission.
func (m *master) shape(name string) (queues, perm int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.topics[name].shape()
}

// shown is the shape that the name server tells.
func (m *master) shown(name string) (queues, perm int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.stale[name]; t != nil {
		return t.shape()
	}
	return m.topics[name].shape()
}

// forget loses a topic; the name server does not learn of it.
func (m *master) forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.topics[name]
	for _, q := range t.queues {
		q.wake()
	}
	m.stale[name] = t
	delete(m.topics, name)
}

// wipe loses everything.
func (m *master) wipe() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.topics)
	clear(m.stale)
	clear(m.groups)
	clear(m.commits)
}

func (m *master) handle(p *peer, req *remoting.Command) *remoting.Command {
	v, refusal := m.b.judge(m.name, req)
	if refusal != nil || v.Hang {
		return refusal
	}
	resp := m.carryOut(p, req)
	if v.Swallow || resp == nil {
		return nil
	}
	if v.Answer != 0 && resp.Code == remoting.Success {
		resp.Code = v.Answer
	}
	switch {
	case v.Delay > 0:
		p.later(func() {
			if p.wait(v.Delay) {
				p.answer(req, resp)
			}
		})
		return nil
	case v.Half:
		p.answerHalf(req, resp)
		resp = nil
	}
	if v.Reset {
		p.nc.Close()
		return nil
	}
	return resp
}

func (m *master) carryOut(p *peer, req *remoting.Command) *remoting.Command {
	switch req.Code {
	case remoting.SendMessageV2, remoting.SendBatch:
		return m.store(req)
	case remoting.PullMessage:
		return m.pull(p, req)
	case remoting.MinOffset, remoting.MaxOffset, remoting.SearchOffset:
		return m.offset(req)
	case remoting.QueryConsumerOffset:
		return m.committed(req)
	case remoting.CommitOffset:
		return m.commit(req)
	case remoting.CreateTopic:
		return m.createTopic(req)
	case remoting.TopicConfig:
		return m.topicConfig(req)
	case remoting.BrokerConfig:
		return &remoting.Command{Body: []byte("brokerName=" + m.name + "\nfileReservedTime=6\n")}
	case remoting.DeleteTopicBroker:
		return m.deleteTopic(req)
	case remoting.AllGroups:
		return m.allGroups()
	case remoting.CreateGroup:
		return m.createGroup(req)
	case remoting.Heartbeat:
		return m.heartbeat(p, req)
	case remoting.ConsumerList:
		return m.consumers(req)
	}
	return unsupported(req)
}

func (m *master) createTopic(req *remoting.Command) *remoting.Command {
	n, err := strconv.Atoi(req.Field("readQueueNums"))
	name := req.Field("topic")
	if err != nil || n < 1 || name == "" {
		return &remoting.Command{Code: remoting.SystemError, Remark: "The specified topic is wrong."}
	}
	perm := permRead | permWrite
	if asked, err := req.Int("perm"); err == nil {
		perm = int(asked)
	}
	compact := !m.b.line4 && strings.Contains(req.Field("attributes"), "+cleanup.policy=COMPACTION")
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.topics[name]
	if t == nil {
		t = &topic{compact: compact}
		m.topics[name] = t
	} else if compact {
		return &remoting.Command{Code: remoting.SystemError, Remark: "attempt to update an unchangeable attribute. key: cleanup.policy"}
	}
	delete(m.stale, name)
	t.perm = perm
	for id := len(t.queues); id < n; id++ {
		t.queues = append(t.queues, &queue{changed: make(chan struct{})})
	}
	t.queues = t.queues[:n]
	return &remoting.Command{Remark: "not set any response code"}
}

// topicConfig gives what the client looks at.
func (m *master) topicConfig(req *remoting.Command) *remoting.Command {
	if m.b.line4 {
		return unsupported(req)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.topics[req.Field("topic")]
	if t == nil {
		return &remoting.Command{Code: remoting.TopicNotExist, Remark: "No topic in this broker. topic: " + req.Field("topic")}
	}
	if !t.compact {
		return &remoting.Command{Body: []byte(`{"attributes":{},"order":false}`)}
	}
	return &remoting.Command{Body: []byte(`{"attributes":{"cleanup.policy":"COMPACTION"},"order":false}`)}
}

func (m *master) deleteTopic(req *remoting.Command) *remoting.Command {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.topics[req.Field("topic")]; t != nil {
		for _, q := range t.queues {
			q.wake()
		}
	}
	delete(m.topics, req.Field("topic"))
	delete(m.stale, req.Field("topic"))
	return &remoting.Command{}
}

func (m *master) allGroups() *remoting.Command {
	m.mu.Lock()
	defer m.mu.Unlock()
	body, err := json.Marshal(map[string]any{"subscriptionGroupTable": m.groups})
	if err != nil {
		return &remoting.Command{Code: remoting.SystemError, Remark: err.Error()}
	}
	return &remoting.Command{Body: body}
}

func (m *master) createGroup(req *remoting.Command) *remoting.Command {
	var g struct {
		GroupName string `json:"groupName"`
	}
	if err := json.Unmarshal(req.Body, &g); err != nil || g.GroupName == "" {
		return &remoting.Command{Code: remoting.SystemError, Remark: "bad group config"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.groups[g.GroupName] = slices.Clone(req.Body)
	return &remoting.Command{}
}

// heartbeat registers the client and tells the others, as the real broker does.
func (m *master) heartbeat(p *peer, req *remoting.Command) *remoting.Command {
	var hb struct {
		ClientID  string `json:"clientID"`
		Consumers []struct {
			GroupName string `json:"groupName"`
		} `json:"consumerDataSet"`
	}
	if err := json.Unmarshal(req.Body, &hb); err != nil {
		return &remoting.Command{Code: remoting.SystemError, Remark: err.Error()}
	}
	who := member{id: hb.ClientID}
	for _, c := range hb.Consumers {
		who.groups = append(who.groups, c.GroupName)
	}
	m.mu.Lock()
	m.members[p] = who
	m.mu.Unlock()
	for _, o := range m.server.Load().others(p) {
		p.later(func() {
			o.write(&remoting.Command{Code: remoting.NotifyConsumerIDs, Flag: remoting.FlagOneWay})
		})
	}
	return &remoting.Command{}
}

func (m *master) consumers(req *remoting.Command) *remoting.Command {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for p, who := range m.members {
		if p.gone.Err() != nil {
			delete(m.members, p)
		} else if slices.Contains(who.groups, req.Field("consumerGroup")) {
			ids = append(ids, who.id)
		}
	}
	if ids == nil {
		return &remoting.Command{Code: remoting.SystemError, Remark: "no consumer for this group, " + req.Field("consumerGroup")}
	}
	body, err := json.Marshal(map[string]any{"consumerIdList": ids})
	if err != nil {
		return &remoting.Command{Code: remoting.SystemError, Remark: err.Error()}
	}
	return &remoting.Command{Body: body}
}

func (m *master) commit(req *remoting.Command) *remoting.Command {
	id, err1 := req.Int("queueId")
	offset, err2 := req.Int("commitOffset")
	if err1 != nil || err2 != nil {
		return &remoting.Command{Code: remoting.SystemError, Remark: "bad commit"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.topics[req.Field("topic")] == nil {
		return &remoting.Command{Code: remoting.TopicNotExist, Remark: "Topic " + req.Field("topic") + " not exist!"}
	}
	m.commits[commitKey{req.Field("consumerGroup"), req.Field("topic"), int(id)}] = offset
	return &remoting.Command{}
}

// committed answers 0 for a group that never committed while the queue starts at 0, unless told not to; 4.9 takes no
// such word.
func (m *master) committed(req *remoting.Command) *remoting.Command {
	q, id, refusal := m.queue(req)
	if refusal != nil {
		return refusal
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	offset, ok := m.commits[commitKey{req.Field("consumerGroup"), req.Field("topic"), id}]
	if !ok && (q.min > 0 || !m.b.line4 && req.Field("setZeroIfNotFound") == "false") {
		return &remoting.Command{Code: remoting.QueryNotFound, Remark: "Not found, maybe this group consumer boot first"}
	}
	return offsetAnswer(offset)
}

func offsetAnswer(offset int64) *remoting.Command {
	return &remoting.Command{Fields: []remoting.Field{{Name: "offset", Value: strconv.FormatInt(offset, 10)}}}
}
