package fold

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// print stands for the entries of a log up to one offset: their offsets and bytes, whatever a fold makes of them.
type print [8]byte

func (p print) next(e rmq.Entry) print {
	h := sha256.New()
	var n [16]byte
	binary.BigEndian.PutUint64(n[:8], uint64(e.Offset))
	binary.BigEndian.PutUint64(n[8:], uint64(len(e.Value)))
	h.Write(p[:])
	h.Write(n[:])
	h.Write(e.Value)
	return print(h.Sum(nil)[:len(p)])
}

func (p print) String() string { return hex.EncodeToString(p[:]) }

// history holds the prints of the newest offsets: those that a record in time may have been written at. It is part of
// the state, for all must find the same records void. Its length follows the oldest member's heartbeats, so that it is
// short on a quiet log, and long enough on a busy one.
type history struct {
	first  int64 // the offset of prints[0]
	prints []print
	beats  []int64 // offsets of the oldest member's newest heartbeats
}

// most bounds the history on a log that nobody's heartbeats divide.
const most = 1 << 14

// newHistory is that of the empty log: all who have read nothing agree.
func newHistory() history { return history{first: -1, prints: []print{{}}} }

func (h *history) newest() print { return h.prints[len(h.prints)-1] }

// add takes the print at an offset. One that does not follow the newest begins another history, at the first entry of a
// log whose beginning has aged out.
func (h *history) add(offset int64, p print) {
	if offset != h.first+int64(len(h.prints)) {
		*h = history{first: offset}
	}
	h.prints = append(h.prints, p)
	if len(h.prints) > most {
		h.forget(h.first + 1)
	}
}

// heartbeat notes one of the oldest member's, and forgets what was before the last two sessions' worth of them.
func (h *history) heartbeat(offset int64, t Terms) {
	const fewest, many = 8, 1024
	h.beats = append(h.beats, offset)
	keep := int(min(max(2*t.TimeoutMS/t.IntervalMS, fewest), many))
	if n := len(h.beats); n > keep {
		h.beats = append([]int64(nil), h.beats[n-keep:]...)
		h.forget(h.beats[0])
	}
}

func (h *history) forget(below int64) {
	if n := below - h.first; n > 0 {
		h.prints = append([]print(nil), h.prints[n:]...)
		h.first = below
	}
}

// holds reports whether an entry is the one that was added at its offset; known is false if that is forgotten.
func (h *history) holds(e rmq.Entry) (held, known bool) {
	i := e.Offset - h.first
	if i <= 0 || i >= int64(len(h.prints)) {
		return false, false
	}
	return h.prints[i-1].next(e) == h.prints[i], true
}

// judge says whether the writer of a record had read this log.
//
// Invariant C4: what was decided on entries that the log has lost is void.
func (h *history) judge(r *Record) Reason {
	switch i := r.AsOf - h.first; {
	case i < 0:
		return Stale
	case i >= int64(len(h.prints)) || h.prints[i].String() != r.Log:
		return OtherLog
	}
	return Accepted
}

// storedHistory is a history in an image.
type storedHistory struct {
	First  int64   `json:"first"`
	Prints []byte  `json:"prints"`
	Beats  []int64 `json:"beats"`
}

func (h *history) stored() storedHistory {
	out := storedHistory{First: h.first, Beats: append([]int64{}, h.beats...)}
	for _, p := range h.prints {
		out.Prints = append(out.Prints, p[:]...)
	}
	return out
}

func (s *storedHistory) restore(offset int64) (history, error) {
	const size = len(print{})
	h := history{first: s.First, beats: s.Beats}
	if len(s.Prints) == 0 || len(s.Prints)%size != 0 || s.First+int64(len(s.Prints)/size)-1 != offset {
		return h, fmt.Errorf("decoding cluster snapshot: %d bytes of prints from offset %d on, as of %d", len(s.Prints), s.First, offset)
	}
	for i := 0; i < len(s.Prints); i += size {
		h.prints = append(h.prints, print(s.Prints[i:]))
	}
	return h, nil
}
