// Package brokers is what name servers and brokers tell of brokers: where the masters are, and how a broker is
// configured. It does no IO.
package brokers

import (
	"maps"
	"slices"
	"strings"
	"sync"
)

// Masters is where the masters are, by the newest answer of a name server. The zero value knows none. It is safe for
// concurrent use.
type Masters struct {
	mu     sync.Mutex
	places map[string]place
	asked  int64
	listed map[string]struct{} // by the newest list of brokers
	of     int64               // the question that it answers
}

// List takes the answer to a question for all brokers that are registered.
func (m *Masters) List(question int64, names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if question < m.of {
		return
	}
	m.of, m.listed = question, make(map[string]struct{}, len(names))
	for _, name := range names {
		m.listed[name] = struct{}{}
	}
}

// Listed reports whether a broker's master was registered when brokers were listed last.
func (m *Masters) Listed(broker string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.listed[broker]
	return ok
}

// AllListed gives their names, sorted.
func (m *Masters) AllListed() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.listed))
}

type place struct {
	addr string
	// asked is how many questions had been asked when the address was learned.
	asked int64
}

// Move is a master that answers at another address than before: another broker took its place, or it was started
// elsewhere.
type Move struct{ Broker, From, To string }

// Ask numbers a question, before it is asked.
func (m *Masters) Ask() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked++
	return m.asked
}

// Learn takes the answer to a question, addresses by broker name, and gives the moves that it shows, in the order of
// their names; without those from an address at which another master is now: a proxy stands at one for all of them.
// What was asked before the newest move of a broker was learned says nothing of that broker: it may be the older
// answer, and a move would be undone and made again that the name server made once.
func (m *Masters) Learn(question int64, addrs map[string]string) (moves []Move) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.places == nil {
		m.places = map[string]place{}
	}
	for name, addr := range addrs {
		known, ok := m.places[name]
		if addr == "" || ok && (known.addr == addr || question <= known.asked) {
			continue
		}
		m.places[name] = place{addr, m.asked}
		if ok {
			moves = append(moves, Move{Broker: name, From: known.addr, To: addr})
		}
	}
	moves = slices.DeleteFunc(moves, func(move Move) bool { return m.used(move.From) })
	slices.SortFunc(moves, func(a, b Move) int { return strings.Compare(a.Broker, b.Broker) })
	return moves
}

func (m *Masters) used(addr string) bool {
	for _, p := range m.places {
		if p.addr == addr {
			return true
		}
	}
	return false
}

// Addr is a master's address, "" if none was ever learned.
func (m *Masters) Addr(broker string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.places[broker].addr
}
