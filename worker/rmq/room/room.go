// Package room bounds the bytes that wait in the lanes of a sender. What waits in a lane that stands still does not
// take the others' room: it is lent once more as much, and no more than that.
package room

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Room is for so many bytes, and as many again in lanes that stand still. It is safe for concurrent use.
type Room struct{ main, spare *semaphore.Weighted }

// New makes a room of so many bytes.
func New(bytes int) *Room {
	return &Room{main: semaphore.NewWeighted(int64(bytes)), spare: semaphore.NewWeighted(int64(bytes))}
}

// TryTake takes bytes if there are as many.
func (r *Room) TryTake(bytes int) bool { return r.main.TryAcquire(int64(bytes)) }

// Take waits for bytes, or fails when ctx ends.
func (r *Room) Take(ctx context.Context, bytes int) error { return r.main.Acquire(ctx, int64(bytes)) }

// Give gives back what was taken and put into no Part.
func (r *Room) Give(bytes int) { r.main.Release(int64(bytes)) }

// Part is what one lane has of a Room.
type Part struct {
	room *Room
	mu   sync.Mutex
	held int // bytes of what waits
	lent int // of these, in the spare room
}

// Part makes an empty part.
func (r *Room) Part() *Part { return &Part{room: r} }

// Put has bytes that were taken count as this lane's.
func (p *Part) Put(bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held += bytes
}

// Held is how many bytes wait.
func (p *Part) Held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held
}

// Lend moves what waits to the spare room, if that has room for it: the lane stands still.
func (p *Part) Lend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.held - p.lent; n > 0 && p.room.spare.TryAcquire(int64(n)) {
		p.lent = p.held
		p.room.main.Release(int64(n))
	}
}

// Give gives back bytes that wait no more.
func (p *Part) Give(bytes int) {
	lent := p.leave(bytes)
	p.room.spare.Release(int64(lent))
	p.room.main.Release(int64(bytes - lent))
}

// Move has bytes wait in another lane's part.
func (p *Part) Move(to *Part, bytes int) {
	lent := p.leave(bytes)
	to.mu.Lock()
	defer to.mu.Unlock()
	to.held, to.lent = to.held+bytes, to.lent+lent
}

// leave takes bytes out, and says how many of them were lent.
func (p *Part) leave(bytes int) (lent int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	lent = min(p.lent, bytes)
	p.held, p.lent = p.held-bytes, p.lent-lent
	return lent
}
