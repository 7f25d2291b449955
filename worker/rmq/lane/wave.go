package lane

import "sync/atomic"

// Wave is what was sent between two flushes. It is over when a flush has ended it and each of its records was answered.
type Wave struct {
	open atomic.Int64 // unanswered records, and one until the flush
	over chan struct{}
	prev atomic.Pointer[Wave]
}

// NewWave makes the wave that comes after prev; nil: after none.
func NewWave(prev *Wave) *Wave {
	w := &Wave{over: make(chan struct{})}
	w.open.Store(1)
	w.prev.Store(prev)
	return w
}

// Join counts one record more. Nothing may join once End was called.
func (w *Wave) Join() { w.open.Add(1) }

// Leave counts one record less.
func (w *Wave) Leave() {
	if w.open.Add(-1) == 0 {
		close(w.over)
	}
}

// End says that nothing joins any more. Call it once.
func (w *Wave) End() { w.Leave() }

// Over is closed when the wave is over.
func (w *Wave) Over() <-chan struct{} { return w.over }

// Before is the newest wave before this one that is not over, nil for none; those that are over, it forgets.
func (w *Wave) Before() *Wave {
	for p := w.prev.Load(); p != nil; p = p.prev.Load() {
		select {
		case <-p.over:
			w.prev.Store(p.prev.Load())
		default:
			return p
		}
	}
	return nil
}
