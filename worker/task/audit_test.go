package task

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// telling is a sink that says when it last wrote.
type telling struct {
	collecting
	at time.Time
}

func (t *telling) NewSink() connector.Sink { return t }
func (t *telling) LastWrite() time.Time    { return t.at }

// asleep holds a call up as a process does that is frozen: the end of its context is seen afterwards.
func asleep(d time.Duration) { <-time.After(d) }

// The lease of each case ends 5 s after the start, and the loss of the task is noticed after 20 s.
func TestStopLinesSayWhenDeliveriesHadEnded(t *testing.T) {
	const lease, noticed = 5 * time.Second, 20 * time.Second
	source := func(took time.Duration) func(h *harness) error {
		return func(h *harness) error {
			src := &counting{partitions: 1, limit: 1, pause: 10 * time.Millisecond}
			time.AfterFunc(noticed, func() { h.gate.end(true) })
			h.gate.until = lease
			if took > 0 {
				h.client.answer = func(rmq.Message) (time.Duration, error) { return took, nil }
			}
			soft, stop := context.WithTimeout(context.Background(), noticed)
			defer stop()
			return h.runner.RunSource(soft, context.Background(), src, h.attempt(nil))
		}
	}
	cases := map[string]struct {
		run  func(h *harness) error
		want time.Duration
	}{
		"a lease that runs on: at the stop": {
			run: func(h *harness) error {
				soft, stop := context.WithTimeout(context.Background(), 3*time.Second)
				defer stop()
				return h.runner.RunSource(soft, context.Background(), &counting{partitions: 1, limit: 9, pause: time.Second}, h.attempt(nil))
			},
			want: 3 * time.Second,
		},
		"a source whose loss is noticed late: at the end of its lease": {run: source(0), want: lease},
		"a source that wrote after its lease: at that write":           {run: source(8 * time.Second), want: 8*time.Second + 10*time.Millisecond},
		"a sink that does not tell and came back late: when it came back": {
			run: func(h *harness) error {
				return h.frozen(lease, noticed, &collecting{put: func(int, []record.Record) error { asleep(9 * time.Second); return nil }})
			},
			want: 9 * time.Second,
		},
		"a sink that failed late with something unflushed: when it was closed": {
			run: func(h *harness) error {
				return h.frozen(
					lease,
					noticed,
					&collecting{put: func(int, []record.Record) error { asleep(9 * time.Second); return errors.New("gone") }},
				)
			},
			want: 9 * time.Second,
		},
		"a sink that tells of a write under its lease: at the lease's end": {
			run: func(h *harness) error {
				sink := &telling{}
				sink.put = func(int, []record.Record) error { sink.at = time.Now(); asleep(9 * time.Second); return nil }
				return h.frozen(lease, noticed, sink)
			},
			want: lease,
		},
		"a sink that tells of a write after its lease: at that write": {
			run: func(h *harness) error {
				sink := &telling{}
				sink.put = func(int, []record.Record) error {
					asleep(7 * time.Second)
					sink.at = time.Now()
					asleep(2 * time.Second)
					return nil
				}
				return h.frozen(lease, noticed, sink)
			},
			want: 7 * time.Second,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				err := tc.run(h)
				if len(h.ended) != 1 || h.ended[0] != tc.want {
					t.Errorf("the stop lines say that deliveries ended at %v, want %v; the attempt ended with %v", h.ended, tc.want, err)
				}
			})
		})
	}
}

// frozen runs a sink whose lease ends while it puts.
func (h *harness) frozen(lease, noticed time.Duration, sink connector.SinkConnector) error {
	h.client.produce("orders", 0, "1")
	h.gate.until = lease
	time.AfterFunc(lease, func() { h.gate.end(false) })
	time.AfterFunc(noticed, func() { h.gate.end(true) })
	soft, stop := context.WithTimeout(context.Background(), 2*noticed)
	defer stop()
	return h.runner.RunSink(soft, context.Background(), sink, h.attempt(connector.Config{"topics": "orders", "errors.retry.timeout": "0"}))
}
