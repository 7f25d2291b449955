package limit

import (
	"net/netip"
	"sync"
)

// Streams counts answers that go on until their callers go. It is safe for concurrent use.
type Streams struct {
	Limits Limits

	mu   sync.Mutex
	held map[netip.Addr]int
	all  int
}

// Open counts one of the caller's; closed must be called when it ends. closed is nil where a limit is reached.
func (s *Streams) Open(remote string) (closed func(), reached string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from := Caller(remote)
	switch {
	case s.held[from] >= s.Limits.PerAddress:
		return nil, ByAddress
	case s.all >= s.Limits.All:
		return nil, InAll
	}
	if s.held == nil {
		s.held = map[netip.Addr]int{}
	}
	s.held[from]++
	s.all++
	return func() { s.close(from) }, ""
}

func (s *Streams) close(from netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.held[from]--; s.held[from] == 0 {
		delete(s.held, from)
	}
}
