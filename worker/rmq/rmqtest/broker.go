// Package rmqtest is an in-memory RocketMQ for tests and for trying out: a name server and masters that speak the
// remoting protocol, with the quirks of the real ones (5.3.3). Data live as long as the Broker, over stops and
// restarts.
package rmqtest

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// Option changes what New and Start bring up.
type Option func(*Broker)

// OverPipe serves no network: clients connect by Broker.Dial over net.Pipe. It works inside synctest bubbles.
func OverPipe() Option { return func(b *Broker) { b.pipes = true } }

// Masters names the masters; without it there is one, broker-a.
func Masters(names ...string) Option { return func(b *Broker) { b.names = names } }

// WithCredentials makes the masters refuse requests that are not signed with them.
func WithCredentials(accessKey, secretKey string) Option {
	return func(b *Broker) { b.accessKey, b.secretKey = accessKey, secretKey }
}

// WithTLS has the name server and the masters take TLS only; nil: without.
func WithTLS(nameServer, masters *tls.Config) Option {
	return func(b *Broker) { b.namesrvTLS, b.masterTLS = nameServer, masters }
}

// BehindProxy has the name server's address answer as a RocketMQ 5 proxy does, which knows the topics' routes and lists
// no brokers.
func BehindProxy() Option { return func(b *Broker) { b.proxy = true } }

// Line4 has the masters answer as RocketMQ 4.9.7 does where it differs: no compaction, no topic configuration (351), 0
// for a group that never committed, the last record for a time past everything, and a code of no meaning for bad
// signatures.
func Line4() Option { return func(b *Broker) { b.line4 = true } }

// Verdict says what becomes of a request. The zero value lets it pass.
type Verdict struct {
	// Refuse is a code to answer with; the request is not carried out.
	Refuse int
	// Remark goes with the refusal.
	Remark string
	// Answer carries the request out and answers with this code, as a master does that stored what no slave confirms.
	Answer int
	// Swallow carries the request out and never answers.
	Swallow bool
	// Hang neither carries it out nor answers.
	Hang bool
	// Delay carries it out and answers after a while. A long poll counts from its own answer.
	Delay time.Duration
	// Half carries it out, and sends half of the answer and nothing more on that connection.
	Half bool
	// Reset carries it out and closes the connection, with Half after half of the answer.
	Reset bool
}

// Broker is a name server and its masters: one value, for a test sets faults of all of them and sees one state.
type Broker struct {
	pipes, line4, proxy  bool
	names                []string
	accessKey, secretKey string

	namesrvTLS, masterTLS *tls.Config
	namesrv               *server
	masters               []*master
	lists                 atomic.Int64

	mu        sync.Mutex
	dropped   map[string]bool // masters of which the name server knows nothing
	retired   []*server       // addresses at which masters are no more
	intercept func(master string, req *remoting.Command) Verdict
}

// TB is what Start needs of a testing.TB; named here so that programs which call New do not link the testing package.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// Start brings up a name server and its masters, which stop when the test ends.
func Start(t TB, opts ...Option) *Broker {
	t.Helper()
	b, err := New(opts...)
	if err != nil {
		t.Fatalf("starting broker: %v", err)
	}
	t.Cleanup(b.Stop)
	return b
}

// New brings up a name server and its masters; Close ends them.
func New(opts ...Option) (*Broker, error) {
	b := &Broker{names: []string{"broker-a"}, dropped: map[string]bool{}}
	for _, o := range opts {
		o(b)
	}
	b.namesrv = &server{handle: b.nameServer, secure: b.namesrvTLS}
	if b.pipes {
		b.namesrv.addr = "namesrv:9876"
	}
	for i, name := range b.names {
		m := newMaster(b, name)
		if b.pipes {
			m.server.Load().addr = fmt.Sprintf("%s:%d", name, 10911+i)
		}
		b.masters = append(b.masters, m)
	}
	if err := b.Restart(); err != nil {
		b.Stop()
		return nil, err
	}
	return b, nil
}

// Close ends all of it and never fails. It may follow Stop.
func (b *Broker) Close() error {
	b.Stop()
	return nil
}

// NameServer is the address for rmq.Config.NameServers.
func (b *Broker) NameServer() string { return b.namesrv.addr }

// Dial is for rmq.Config.Dial: it connects over a pipe to the server of that address.
func (b *Broker) Dial(_ context.Context, _, addr string) (net.Conn, error) {
	for _, s := range b.servers() {
		if s.addr != addr {
			continue
		}
		ours, theirs := net.Pipe()
		if s.serve(theirs) {
			return ours, nil
		}
		ours.Close()
		theirs.Close()
	}
	return nil, fmt.Errorf("dial %s: connection refused", addr)
}

func (b *Broker) servers() []*server {
	out := []*server{b.namesrv}
	for _, m := range b.masters {
		out = append(out, m.server.Load())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return append(out, b.retired...)
}

// Stop ends all of it, as if killed. The data stay.
func (b *Broker) Stop() {
	for _, s := range b.servers() {
		s.stop()
	}
}

// Restart starts what is stopped, on the same addresses.
func (b *Broker) Restart() error {
	b.mu.Lock()
	clear(b.dropped)
	b.mu.Unlock()
	for _, s := range b.servers() {
		if err := s.start(b.pipes); err != nil {
			return err
		}
	}
	return nil
}

// StopMaster kills one master. The name server goes on showing it.
func (b *Broker) StopMaster(name string) { b.master(name).kill(false) }

// LeaveSlave kills one master whose slave stays registered: the name server shows its queues as before, and only the
// slave's address, which answers nothing.
func (b *Broker) LeaveSlave(name string) { b.master(name).kill(true) }

// DropMaster kills one master, and the name server drops its routes, as the real one does once it notices.
func (b *Broker) DropMaster(name string) {
	b.StopMaster(name)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dropped[name] = true
}

// RestartMaster starts it again.
func (b *Broker) RestartMaster(name string) error {
	b.mu.Lock()
	delete(b.dropped, name)
	b.mu.Unlock()
	return b.master(name).server.Load().start(b.pipes)
}

// Create makes a topic on every master, as an administrator does.
func (b *Broker) Create(topic string, queues int) {
	for _, m := range b.masters {
		m.createTopic(
			&remoting.Command{Fields: []remoting.Field{{Name: "topic", Value: topic}, {Name: "readQueueNums", Value: strconv.Itoa(queues)}}},
		)
	}
}

// Lists is how often the name server was asked for the list of brokers.
func (b *Broker) Lists() int64 { return b.lists.Load() }

// Perm is the permission of a topic on a master: 4 to read, 2 to write, 6 both; false if it has no such topic.
func (b *Broker) Perm(topic, master string) (perm int, ok bool) {
	_, perm, ok = b.master(master).shape(topic)
	return perm, ok
}

func (b *Broker) isDropped(master string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.dropped[master]
}

// Forget has a master lose a topic that the name server goes on showing there.
func (b *Broker) Forget(topic, master string) { b.master(master).forget(topic) }

// Renew has a topic deleted and recreated. As on the real broker, pulls that are held go on waiting for their offset.
func (b *Broker) Renew(topic, master string) { b.master(master).renew(topic) }

// Wipe has a master come back with nothing of what it held.
func (b *Broker) Wipe(name string) error {
	m := b.master(name)
	m.server.Load().stop()
	m.wipe()
	return b.RestartMaster(name)
}

// StopNameServer kills the name server alone; Restart brings it back.
func (b *Broker) StopNameServer() { b.namesrv.stop() }

// Freeze stops one master from reading and writing, as SIGSTOP does: connections stay, and can be made. What was sent
// to it meanwhile it reads once thaw is called.
func (b *Broker) Freeze(name string) (thaw func()) { return b.master(name).server.Load().freeze() }

// Elect freezes one master, and has another broker take its place: with the same name and data, at another address,
// which the name server shows at once. After thaw the former master answers again, as one that is no master.
func (b *Broker) Elect(name string) (thaw func(), err error) {
	m := b.master(name)
	old := m.server.Load()
	thaw = old.freeze()
	elected := m.newServer()
	if b.pipes {
		elected.addr = old.addr + "0"
	}
	if err := elected.start(b.pipes); err != nil {
		return thaw, err
	}
	b.mu.Lock()
	b.retired = append(b.retired, old)
	b.mu.Unlock()
	m.server.Store(elected)
	return thaw, nil
}

// Intercept has fn judge every request to a master from now on; nil lets all pass. fn is called from several
// goroutines.
func (b *Broker) Intercept(fn func(master string, req *remoting.Command) Verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.intercept = fn
}

// Trim removes the records below an offset, as retention does.
func (b *Broker) Trim(topic, master string, queue int, below int64) {
	b.master(master).trim(topic, queue, below)
}

// Lose has the queue's index go on with a record that the store does not find.
func (b *Broker) Lose(topic, master string, queue int, offset int64) {
	b.master(master).lose(topic, queue, offset)
}

// Cut removes the records from an offset on, as a power loss does: the offsets are given out again.
func (b *Broker) Cut(topic, master string, queue int, from int64) {
	b.master(master).cut(topic, queue, from)
}

func (b *Broker) master(name string) *master {
	i := slices.IndexFunc(b.masters, func(m *master) bool { return m.name == name })
	if i < 0 {
		panic("rmqtest: no master " + name)
	}
	return b.masters[i]
}

// nameServer answers for the name server.
func (b *Broker) nameServer(_ *peer, req *remoting.Command) *remoting.Command {
	if b.proxy { // name servers ask nobody who they are
		if refusal := b.identify(req); refusal != nil {
			return refusal
		}
	}
	switch req.Code {
	case remoting.RouteByTopic:
		return b.route(req.Field("topic"))
	case remoting.ClusterInfo:
		if b.lists.Add(1); b.proxy {
			return unsupported(req)
		}
		return b.clusterInfo()
	case remoting.DeleteTopicNamesrv:
		return &remoting.Command{}
	}
	return unsupported(req)
}

func unsupported(req *remoting.Command) *remoting.Command {
	return &remoting.Command{Code: remoting.CodeNotSupported, Remark: fmt.Sprintf("request type %d not supported", req.Code)}
}

// route shows broker ids as unquoted keys, as the real one does.
func (b *Broker) route(topic string) *remoting.Command {
	var queues, brokers []string
	for _, m := range b.masters {
		n, perm, ok := m.shown(topic)
		if !ok || b.isDropped(m.name) {
			continue
		}
		queues = append(
			queues,
			fmt.Sprintf(`{"brokerName":%q,"perm":%d,"readQueueNums":%d,"topicSysFlag":0,"writeQueueNums":%d}`, m.name, perm, n, n),
		)
		brokers = append(brokers, m.data())
	}
	if queues == nil {
		return &remoting.Command{Code: remoting.TopicNotExist, Remark: "No topic route info in name server for the topic: " + topic}
	}
	return &remoting.Command{Body: fmt.Appendf(nil, `{"brokerDatas":[%s],"filterServerTable":{},"queueDatas":[%s]}`,
		strings.Join(brokers, ","), strings.Join(queues, ","))}
}

func (b *Broker) clusterInfo() *remoting.Command {
	var brokers, names []string
	for _, m := range b.masters {
		if m.server.Load().running() {
			brokers = append(brokers, fmt.Sprintf("%q:%s", m.name, m.data()))
			names = append(names, fmt.Sprintf("%q", m.name))
		}
	}
	return &remoting.Command{Body: fmt.Appendf(nil, `{"brokerAddrTable":{%s},"clusterAddrTable":{"DefaultCluster":[%s]}}`,
		strings.Join(brokers, ","), strings.Join(names, ","))}
}

// judge applies the access check and the interceptor.
func (b *Broker) judge(master string, req *remoting.Command) (Verdict, *remoting.Command) {
	if refusal := b.identify(req); refusal != nil {
		return Verdict{}, refusal
	}
	b.mu.Lock()
	fn := b.intercept
	b.mu.Unlock()
	if fn == nil {
		return Verdict{}, nil
	}
	v := fn(master, req)
	if v.Refuse != 0 {
		return v, &remoting.Command{Code: v.Refuse, Remark: cmp.Or(v.Remark, "refused by the test")}
	}
	return v, nil
}

// identify refuses who does not sign as the one user that there is.
func (b *Broker) identify(req *remoting.Command) *remoting.Command {
	if b.accessKey != "" {
		switch {
		case req.Field(remoting.FieldAccessKey) == "":
			return b.denied("username cannot be null.", "No accessKey is configured")
		case req.Field(remoting.FieldAccessKey) != b.accessKey:
			return b.denied("User:"+req.Field(remoting.FieldAccessKey)+" is not found.", "No acl config for "+req.Field(remoting.FieldAccessKey))
		case req.Field(remoting.FieldSignature) != remoting.Signature(b.secretKey, slices.Clone(req.Fields), req.Body):
			return b.denied("check signature failed.", "Check signature failed for accessKey="+b.accessKey)
		}
	}
	return nil
}

func (b *Broker) denied(remark, remark4 string) *remoting.Command {
	if b.line4 {
		return &remoting.Command{Code: remoting.SystemError, Remark: "org.apache.rocketmq.acl.common.AclException: " + remark4}
	}
	return &remoting.Command{Code: remoting.NoPermission, Remark: remark}
}
