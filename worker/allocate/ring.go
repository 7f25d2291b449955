package allocate

import (
	"crypto/md5" // The ring is defined by it; nothing secret depends on it.
	"encoding/binary"
	"slices"
	"strconv"
)

// Ring is the consistent-hash ring of RocketMQ's ConsistentHashRouter. It is immutable.
type Ring struct {
	points []point // by hash, which is unique
}

type point struct {
	hash   uint32
	worker string
}

// maxPoints bounds a ring: a hundred workers with the most points that can be configured each.
const maxPoints = 1 << 20

// NewRing makes a ring on which each worker has virtualNodes points with the keys <worker>-0, <worker>-1, …; 0 or less
// means DefaultVirtualNodes. Of two points with one hash the later worker's stays, as in the original.
func NewRing(workers []string, virtualNodes int) *Ring {
	if virtualNodes <= 0 {
		virtualNodes = DefaultVirtualNodes
	}
	virtualNodes = max(1, min(virtualNodes, maxPoints/max(1, len(workers))))
	at := make(map[uint32]string, len(workers)*virtualNodes)
	for _, w := range workers {
		for i := range virtualNodes {
			at[Hash(w+"-"+strconv.Itoa(i))] = w
		}
	}
	r := &Ring{points: make([]point, 0, len(at))}
	for h, w := range at {
		r.points = append(r.points, point{h, w})
	}
	slices.SortFunc(r.points, func(a, b point) int { return compareHash(a, b.hash) })
	return r
}

// Hash is the place of a key on the ring: the first four bytes of its MD5 sum, big-endian.
func Hash(key string) uint32 {
	sum := md5.Sum([]byte(key))
	return binary.BigEndian.Uint32(sum[:])
}

// Worker returns the worker of the first point at or after the key's hash, wrapping; empty if the ring is.
func (r *Ring) Worker(key string) string {
	return r.walk(key, func(string) bool { return true })
}

// walk returns the first worker at or after the key that has room; empty if none has.
func (r *Ring) walk(key string, room func(worker string) bool) string {
	start, _ := slices.BinarySearchFunc(r.points, Hash(key), compareHash)
	for i := range r.points {
		if w := r.points[(start+i)%len(r.points)].worker; room(w) {
			return w
		}
	}
	return ""
}

func compareHash(p point, h uint32) int {
	switch {
	case p.hash < h:
		return -1
	case p.hash > h:
		return 1
	}
	return 0
}
