//go:build topology

package topology

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// rig is a client of the brokers. Its names are new in each run.
type rig struct {
	*testing.T
	c      *rmq.Client
	suffix string
}

// newRig skips the test on every topology but one.
func newRig(t *testing.T, topology, servers string) *rig {
	t.Helper()
	needs(t, topology)
	return &rig{T: t, c: open(t, servers), suffix: "-" + strconv.FormatInt(time.Now().UnixMilli(), 36)}
}

// numbered sends records with rising numbers to one queue, and notes which were confirmed.
type numbered struct {
	mu        sync.Mutex
	confirmed map[int]bool
}

func (n *numbered) send(ctx context.Context, s *rmq.Sender, topic string, i int) error {
	return s.Send(ctx, rmq.Message{Topic: topic, Body: fmt.Append(nil, i)}, func(_ int64, err error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.confirmed[i] = err == nil
	})
}

// copies reads a queue from its start to its end, and counts how often it holds each record. Records must rise, repeats
// left out.
func (r *rig) copies(q rmq.Queue) map[int]int {
	r.Helper()
	_, end, err := r.c.Offsets(r.Context(), q)
	if err != nil {
		r.Fatal(err)
	}
	reader := r.c.NewReader(rmq.ReaderConfig{Group: "topology"})
	defer reader.Close()
	reader.Assign(map[rmq.Queue]int64{q: 0})
	out, highest := map[int]int{}, -1
	for offset := int64(0); offset < end; {
		got, err := reader.Poll(r.Context(), 1000)
		if err != nil {
			r.Fatal(err)
		}
		for _, m := range got {
			i, err := strconv.Atoi(string(m.Body))
			if err != nil {
				r.Fatal(err)
			}
			if out[i] == 0 && i < highest {
				r.Errorf("record %d first comes after record %d", i, highest)
			}
			out[i]++
			highest, offset = max(highest, i), m.NextOffset
		}
	}
	return out
}
