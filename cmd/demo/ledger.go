package main

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// filler makes records of a common size.
const filler = " the quick brown fox jumps over the lazy dog"

// ledger numbers the records of each key that go in, and compares them with what comes out. Order is kept per key all
// the way, so a number that a later one of its key has overtaken is missing, at least for now.
type ledger struct {
	mu     sync.Mutex
	keys   []track
	totals totals
}

// track is one key: the numbers below next went in, those up to newest came out, but for the holes.
type track struct {
	next, newest int64
	holes        map[int64]struct{}
}

// totals is what the ledger counts.
type totals struct {
	// In were confirmed by the source Kafka topic; Out are the different ones that came back.
	In, Out int64
	// Missing were overtaken by a later record of their key; Repeated came more than once; Damaged are not as they went
	// in.
	Missing, Repeated, Damaged int64
}

// InFlight is what went in and neither came out nor counts as missing.
func (t totals) InFlight() int64 { return max(0, t.In-t.Out-t.Missing) }

func newLedger(keys int) *ledger {
	l := &ledger{keys: make([]track, keys)}
	for i := range l.keys {
		l.keys[i] = track{newest: -1, holes: map[int64]struct{}{}}
	}
	return l
}

// next numbers a record of the key that is about to go in.
func (l *ledger) next(key int) (name, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.keys[key].next
	l.keys[key].next++
	return []byte("key-" + strconv.Itoa(key)), content(key, n)
}

func content(key int, n int64) []byte {
	return fmt.Appendf(nil, "%d of key-%d:%s", n, key, filler)
}

// confirmed notes that Kafka has a record that next numbered.
func (l *ledger) confirmed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.totals.In++
}

// see takes a record that came out.
func (l *ledger) see(name, value []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key, n, ok := l.read(name, value)
	if !ok {
		l.totals.Damaged++
		return
	}
	t := &l.keys[key]
	_, hole := t.holes[n]
	switch {
	case n > t.newest:
		for skipped := t.newest + 1; skipped < n; skipped++ {
			t.holes[skipped] = struct{}{}
			l.totals.Missing++
		}
		t.newest = n
		l.totals.Out++
	case hole:
		delete(t.holes, n)
		l.totals.Missing--
		l.totals.Out++
	default:
		l.totals.Repeated++
	}
}

// read takes a record apart. It is not ok for one that never went in as it is.
func (l *ledger) read(name, value []byte) (key int, n int64, ok bool) {
	rest, isKey := strings.CutPrefix(string(name), "key-")
	key, err := strconv.Atoi(rest)
	if !isKey || err != nil || key < 0 || key >= len(l.keys) {
		return 0, 0, false
	}
	number, _, _ := strings.Cut(string(value), " ")
	n, err = strconv.ParseInt(number, 10, 64)
	ok = err == nil && n >= 0 && n < l.keys[key].next && bytes.Equal(value, content(key, n))
	return key, n, ok
}

func (l *ledger) count() totals {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals
}
