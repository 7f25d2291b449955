package service

import (
	"sync"
	"time"
)

// Seldom bounds how often something is told that anybody can cause: it lets one of many pass in each interval, and
// counts those that it held back. It is safe for concurrent use.
type Seldom struct {
	// Every is the interval.
	Every time.Duration

	mu   sync.Mutex
	next time.Time
	held int
}

// Pass reports whether this one passes at the time now, and how many were held back since the last that did.
func (s *Seldom) Pass(now time.Time) (held int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next) {
		s.held++
		return 0, false
	}
	held, s.held, s.next = s.held, 0, now.Add(s.Every)
	return held, true
}
