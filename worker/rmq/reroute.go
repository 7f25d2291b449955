package rmq

import (
	"errors"
	"slices"
)

// misplaced says whether the queue may be gone. A 4.9 broker answers for a queue that was taken away as it does for any
// trouble (SystemError): then the route that is looked up every now and again tells.
func (l *lane) misplaced(err error) bool {
	if errors.Is(err, ErrTopicNotFound) || errors.Is(err, errNoMaster) {
		return true
	}
	if b := (*BrokerError)(nil); errors.As(err, &b) && b.readOnly() {
		return true
	}
	r := l.s.c.routes.known(l.q.Topic)
	return IsTemporary(err) && r != nil && !slices.Contains(r.writable, l.q)
}

// reroute asks where the queue went that its broker does not know or lets nobody write to, or whose broker is not in the
// route any more. It says true when the batch needs nothing more: its messages failed, because the topic is gone, or took
// other lanes. Messages that are bound to a queue whose broker is away wait, unless they are movable: their order must
// outlast that. Those of a queue that a broker which is there has given up move.
func (l *lane) reroute(b *batch, why error) bool {
	r, err := l.s.c.fetchRoute(l.s.ctx, l.q.Topic)
	byBroker := errors.Is(why, ErrTopicNotFound) && !l.s.c.isNameServer(why)
	if err != nil {
		// Only a broker's word is final: a name server forgets the topics of brokers that restart.
		if errors.Is(err, ErrTopicNotFound) && byBroker {
			l.finish(b, 0, err)
			return true
		}
		return false
	}
	if r.away(l.q.Topic) == nil {
		l.s.c.routes.put(l.q.Topic, r)
	}
	if slices.Contains(r.writable, l.q) || len(r.writable) == 0 {
		return false
	}
	gone := byBroker || r.has(l.q.Broker)
	if l.move(b, func(m *waiting) bool { return gone || m.movable || !m.bound }); b.good > 0 {
		return false
	}
	l.finish(b, 0, nil)
	return true
}

// isNameServer says whether an answer came from a name server.
func (c *Client) isNameServer(err error) bool {
	var b *BrokerError
	return errors.As(err, &b) && slices.Contains(c.cfg.NameServers, b.Addr)
}

// scatter moves the messages that may go to any queue to lanes that work, if there are any.
func (l *lane) scatter(b *batch) {
	l.s.mu.Lock()
	t := l.s.topics[l.q.Topic]
	other := false
	if t != nil {
		for _, o := range t.lanes {
			other = other || o != l && !o.fails()
		}
	}
	l.s.mu.Unlock()
	if other {
		l.move(b, func(m *waiting) bool { return !m.bound })
	}
}

// move hands messages to the lanes that they would take now; the batch keeps the others, and those that no lane takes.
func (l *lane) move(b *batch, which func(*waiting) bool) {
	kept := batch{msgs: b.msgs[:0]}
	for i, from := 0, 0; i < len(b.msgs); i++ {
		m := b.msgs[i]
		member := b.wire[from:m.end]
		from = m.end
		if m.err == nil && which(&m) && l.handOver(member, m) {
			continue
		}
		kept.add(member, m)
	}
	clear(b.msgs[len(kept.msgs):])
	b.wire, b.msgs, b.good = append(b.wire[:0], kept.wire...), kept.msgs, kept.good
}

func (l *lane) handOver(member []byte, m waiting) bool {
	m.moves = true
	to, err := l.s.find(l.s.ctx, l.q.Topic, l.q, &m)
	return err == nil && to != l && to.adopt(member, m, l.part)
}
