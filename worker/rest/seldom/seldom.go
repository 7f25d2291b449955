// Package seldom bounds how often something is told that any caller can cause.
package seldom

import (
	"sync"
	"time"
)

// Gate lets one of many pass in each interval, and counts those that it held back. It is safe for concurrent use.
type Gate struct {
	// Every is the interval.
	Every time.Duration

	mu   sync.Mutex
	next time.Time
	held int
}

// Pass reports whether this one passes at the time now, and how many were held back since the last that did.
func (g *Gate) Pass(now time.Time) (held int, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Before(g.next) {
		g.held++
		return 0, false
	}
	held, g.held, g.next = g.held, 0, now.Add(g.Every)
	return held, true
}
