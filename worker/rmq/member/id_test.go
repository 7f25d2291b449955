package member

import (
	"encoding/binary"
	"encoding/hex"
	"testing"
	"testing/synctest"
	"time"
)

// TestIDsTellWhenTheyWereMade reads the time back as RocketMQ's tools do: as milliseconds since the start of the month.
func TestIDsTellWhenTheyWereMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ids := NewIDs()
		time.Sleep(90 * time.Minute)
		seen := map[string]bool{}
		for range 1000 {
			id := string(ids.append(nil))
			raw, err := hex.DecodeString(id)
			if err != nil || len(raw) != 16 {
				t.Fatalf("id %q: %d bytes, %v", id, len(raw), err)
			}
			now := time.Now()
			month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, now.Location())
			if got := time.Duration(binary.BigEndian.Uint32(raw[10:14])) * time.Millisecond; got != now.Sub(month) {
				t.Fatalf("id %q tells %s into the month, want %s", id, got, now.Sub(month))
			}
			if seen[id] {
				t.Fatalf("id %q came twice", id)
			}
			seen[id] = true
		}
	})
}

func BenchmarkID(b *testing.B) {
	ids, out := NewIDs(), make([]byte, 0, 64)
	b.ReportAllocs()
	for b.Loop() {
		out = ids.append(out[:0])
	}
}
