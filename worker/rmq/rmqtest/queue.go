package rmqtest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// The brokers' limits: of a message's body, and of one pull.
const (
	maxBody      = 4 << 20
	maxPull      = 32
	maxPullBytes = 256 << 10
)

// queue holds the records from offset min on.
type queue struct {
	min     int64
	records []stored
	changed chan struct{} // closed at the next append
	renewed bool          // the topic was recreated while pulls were held
}

type stored struct {
	at   int64 // ms
	wire []byte
}

func (q *queue) max() int64 { return q.min + int64(len(q.records)) }

func (q *queue) wake() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// queue finds the queue that a request is about.
func (m *master) queue(req *remoting.Command) (q *queue, id int, refusal *remoting.Command) {
	name, idField := "topic", "queueId"
	if req.Code == remoting.SendMessageV2 || req.Code == remoting.SendBatch {
		name, idField = "b", "e"
	}
	id64, err := req.Int(idField)
	if err != nil {
		return nil, 0, &remoting.Command{Code: remoting.SystemError, Remark: err.Error()}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	t := m.topics[req.Field(name)]
	if t == nil {
		return nil, 0, &remoting.Command{Code: remoting.TopicNotExist, Remark: "topic[" + req.Field(name) + "] not exist"}
	}
	if id64 < 0 || id64 >= int64(len(t.queues)) {
		return nil, 0, &remoting.Command{Code: remoting.SystemError, Remark: fmt.Sprintf("request queueId[%d] is illegal", id64)}
	}
	return t.queues[id64], int(id64), nil
}

func (m *master) store(req *remoting.Command) *remoting.Command {
	q, id, refusal := m.queue(req)
	if refusal != nil {
		return refusal
	}
	illegal := func(why string) *remoting.Command {
		return &remoting.Command{Code: remoting.MessageIllegal, Remark: why}
	}
	if len(req.Body) > maxBody || len(req.Field("i")) > remoting.MaxProperties {
		return illegal(
			"the message is illegal, maybe msg body or properties length not matched. msg body length limit 4194304B, msg properties " +
				"length limit 32767B.",
		)
	}
	born, err1 := req.Int("g")
	flags, err2 := req.Int("f")
	if err := errors.Join(err1, err2); err != nil {
		return illegal(err.Error())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if req.Code == remoting.SendMessageV2 && m.topics[req.Field("b")].compact && !hasKeys([]byte(req.Field("i"))) {
		return illegal("Required message key is missing")
	}
	first := q.max()
	msg := remoting.Message{
		QueueID: id,
		SysFlag: int(flags),
		Born:    born,
		Topic:   []byte(req.Field("b")),
		Stored:  max(time.Now().UnixMilli(), q.lastStored()),
	}
	members := [][2][]byte{{req.Body, []byte(req.Field("i"))}}
	if req.Code == remoting.SendBatch {
		var err error
		if members, err = split(req.Body); err != nil {
			return illegal(err.Error())
		}
	}
	for i, member := range members {
		msg.Offset, msg.Body, msg.Properties = first+int64(i), member[0], member[1]
		q.records = append(q.records, stored{at: msg.Stored, wire: remoting.AppendStored(nil, &msg)})
	}
	q.wake()
	return &remoting.Command{Fields: []remoting.Field{
		{Name: "msgId", Value: fmt.Sprintf("7F00000100002A9F%016X", first)},
		{Name: "queueId", Value: strconv.Itoa(id)},
		{Name: "queueOffset", Value: strconv.FormatInt(first, 10)},
	}}
}

func (q *queue) lastStored() int64 {
	if len(q.records) == 0 {
		return 0
	}
	return q.records[len(q.records)-1].at
}

func hasKeys(properties []byte) bool {
	return bytes.HasPrefix(properties, []byte("KEYS\x01")) || bytes.Contains(properties, []byte("\x02KEYS\x01"))
}

func split(batch []byte) (members [][2][]byte, err error) {
	for len(batch) > 0 {
		var body, properties []byte
		if body, properties, batch, err = remoting.Member(batch); err != nil {
			return nil, err
		}
		members = append(members, [2][]byte{body, properties})
	}
	return members, nil
}

func (m *master) offset(req *remoting.Command) *remoting.Command {
	q, _, refusal := m.queue(req)
	if refusal != nil {
		return refusal
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch req.Code {
	case remoting.MinOffset:
		return offsetAnswer(q.min)
	case remoting.MaxOffset:
		return offsetAnswer(q.max())
	}
	at, err := req.Int("timestamp")
	if err != nil {
		return &remoting.Command{Code: remoting.SystemError, Remark: err.Error()}
	}
	found := q.min + int64(sort.Search(len(q.records), func(i int) bool { return q.records[i].at >= at }))
	if m.b.line4 && found == q.max() && len(q.records) > 0 {
		found--
	}
	return offsetAnswer(found)
}

// The suspend bit of a pull's sysFlag.
const pullSuspend = 2

// pull answers at once when there is something to say; else it holds the request until there is, if it may.
func (m *master) pull(p *peer, req *remoting.Command) *remoting.Command {
	resp, changed := m.tryPull(req)
	flags, err1 := req.Int("sysFlag")
	held, err2 := req.Int("suspendTimeoutMillis")
	if resp.Code != remoting.PullNotFound || err1 != nil || err2 != nil || flags&pullSuspend == 0 {
		return resp
	}
	p.later(func() {
		timer := time.NewTimer(time.Duration(held) * time.Millisecond)
		defer timer.Stop()
		for resp.Code == remoting.PullNotFound {
			select {
			case <-changed:
				resp, changed = m.tryPull(req)
				if m.holdsOn(req, resp) {
					resp = &remoting.Command{Code: remoting.PullNotFound}
				}
			case <-timer.C:
				p.answer(req, resp)
				return
			case <-p.gone.Done():
				return
			}
		}
		p.answer(req, resp)
	})
	return nil
}

// holdsOn reports that a held pull goes on waiting for the offset, though a new one would be told that it is past the
// end.
func (m *master) holdsOn(req, resp *remoting.Command) bool {
	q, _, refusal := m.queue(req)
	m.mu.Lock()
	defer m.mu.Unlock()
	return refusal == nil && q.renewed && resp.Code == remoting.PullOffsetMoved
}

// renew empties a topic without telling whose pulls are held.
func (m *master) renew(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, q := range m.topics[name].queues {
		q.min, q.records, q.renewed = 0, nil, true
	}
}

func (m *master) tryPull(req *remoting.Command) (resp *remoting.Command, changed <-chan struct{}) {
	q, _, refusal := m.queue(req)
	if refusal != nil {
		return refusal, nil
	}
	if _, perm, _ := m.shape(req.Field("topic")); perm&permRead == 0 {
		return &remoting.Command{Code: remoting.NoPermission, Remark: "the topic[" + req.Field("topic") + "] pulling message is forbidden"}, nil
	}
	from, err1 := req.Int("queueOffset")
	limit, err2 := req.Int("maxMsgNums")
	if err1 != nil || err2 != nil {
		return &remoting.Command{Code: remoting.SystemError, Remark: "bad pull"}, nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	resp = &remoting.Command{}
	next := from
	switch low, high := q.min, q.max(); {
	case from < low:
		resp.Code, resp.Remark, next = remoting.PullOffsetMoved, "OFFSET_TOO_SMALL", low
	case from > high:
		resp.Code, resp.Remark, next = remoting.PullOffsetMoved, "OFFSET_OVERFLOW_BADLY", high
	case from == high, q.records[from-low].wire == nil:
		resp.Code, resp.Remark = remoting.PullNotFound, "OFFSET_OVERFLOW_ONE" // or OFFSET_FOUND_NULL
	default:
		for next < high && next-from < min(limit, maxPull) {
			wire := q.records[next-low].wire
			if wire == nil || len(resp.Body) > 0 && len(resp.Body)+len(wire) > maxPullBytes {
				break
			}
			resp.Body = append(resp.Body, wire...)
			next++
		}
		resp.Remark = "FOUND"
	}
	for _, f := range []struct {
		name  string
		value int64
	}{{"nextBeginOffset", next}, {"minOffset", q.min}, {"maxOffset", q.max()}, {"suggestWhichBrokerId", 0}} {
		resp.Fields = append(resp.Fields, remoting.Field{Name: f.name, Value: strconv.FormatInt(f.value, 10)})
	}
	return resp, q.changed
}

func (m *master) trim(name string, id int, below int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.topics[name].queues[id]
	n := min(max(0, below-q.min), int64(len(q.records)))
	q.records = slices.Clone(q.records[n:])
	q.min += n
	q.wake()
}

func (m *master) lose(name string, id int, offset int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.topics[name].queues[id]
	q.records[offset-q.min].wire = nil
}

func (m *master) cut(name string, id int, from int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.topics[name].queues[id]
	n := min(max(0, from-q.min), int64(len(q.records)))
	q.records = slices.Clone(q.records[:n])
	q.wake()
}
