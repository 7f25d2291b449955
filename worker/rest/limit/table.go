// Package limit bounds what callers may hold of a server at the same time: connections and streams, in all and by
// address, counted so that one caller cannot use up what others need.
package limit

import (
	"cmp"
	"net/netip"
)

// Limits are how many there may be.
type Limits struct{ All, PerAddress int }

// What a limit is about, as metrics have it.
const (
	ByAddress = "address"
	InAll     = "all"
)

// Caller is what a caller is counted by: its address; of IPv6 the network of 64 bits that one host has, but of
// link-local addresses the address, for there hosts share one.
func Caller(remote string) netip.Addr {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}
	}
	addr := at.Addr().Unmap()
	if addr.Is4() || addr.IsLinkLocalUnicast() {
		return addr
	}
	return netip.PrefixFrom(addr.WithZone(""), 64).Masked().Addr()
}

// slot is the place of one connection.
type slot struct {
	from netip.Addr
	// quiet is a connection on which no request is being answered, since turn: the smaller, the longer.
	quiet bool
	turn  uint64
	close func() error
}

// table is who holds what. It is not safe for concurrent use.
type table struct {
	limits Limits
	held   map[netip.Addr]map[*slot]struct{}
	all    int
	turn   uint64
}

// admit gives a place to a new connection. Where there is none, the quiet connection that has waited longest makes
// room: of the same address if that holds all that an address may, else of the address that holds most, if that is more
// than this one does. Without one, the limit that is reached is returned.
func (t *table) admit(from netip.Addr) (in, displaced *slot, reached string) {
	mine := len(t.held[from])
	switch {
	case mine >= t.limits.PerAddress:
		if displaced, reached = t.longestQuiet(from), ByAddress; displaced == nil {
			return nil, nil, reached
		}
	case t.all >= t.limits.All:
		if displaced, reached = t.ofRichest(from, mine), InAll; displaced == nil {
			return nil, nil, reached
		}
	}
	if displaced != nil {
		t.remove(displaced)
	}
	in = &slot{from: from}
	t.silence(in)
	if t.held[from] == nil {
		t.held[from] = map[*slot]struct{}{}
	}
	t.held[from][in] = struct{}{}
	t.all++
	return in, displaced, reached
}

// silence notes that the connection waits for a request from now on.
func (t *table) silence(s *slot) {
	t.turn++
	s.quiet, s.turn = true, t.turn
}

func (t *table) remove(s *slot) {
	if _, held := t.held[s.from][s]; !held {
		return
	}
	delete(t.held[s.from], s)
	if len(t.held[s.from]) == 0 {
		delete(t.held, s.from)
	}
	t.all--
}

func (t *table) longestQuiet(from netip.Addr) (found *slot) {
	for s := range t.held[from] {
		if s.quiet && (found == nil || s.turn < found.turn) {
			found = s
		}
	}
	return found
}

// ofRichest is the longest quiet connection of the address that holds most; addresses that hold no more than mine are
// left alone, but for the caller's own.
func (t *table) ofRichest(from netip.Addr, mine int) (found *slot) {
	most := 0
	for addr, held := range t.held {
		if len(held) <= mine && addr != from {
			continue
		}
		s := t.longestQuiet(addr)
		if s == nil {
			continue
		}
		if more := cmp.Compare(len(held), most); found == nil || more > 0 || more == 0 && s.turn < found.turn {
			found, most = s, len(held)
		}
	}
	return found
}
