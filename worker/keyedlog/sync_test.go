package keyedlog_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/keyedlog/logtest"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// lateLog is a log that is not followed before open is closed.
type lateLog struct {
	*logtest.Log
	open chan struct{}
}

// Follow waits, and then follows.
func (l lateLog) Follow(ctx context.Context, from, known int64, fn func(rmq.Entry) error) error {
	select {
	case <-l.open:
	case <-ctx.Done():
		return ctx.Err()
	}
	return l.Log.Follow(ctx, from, known, fn)
}

// lagging starts a node that has read the log to its end and reads on once open is closed.
func lagging(t *testing.T, log *logtest.Log) (n *node, open chan struct{}) {
	t.Helper()
	open = make(chan struct{})
	return newNode(t, log, func(o *keyedlog.Options) {
		o.Open = func(context.Context) (keyedlog.Log, error) { return lateLog{log, open}, nil }
	}).start(), open
}

// syncing calls Sync, with an end, and gives what becomes of it.
func (n *node) syncing() <-chan error {
	synced := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		synced <- n.Sync(ctx)
	}()
	synctest.Wait()
	return synced
}

func TestSyncReturnsWhenAllThatTheLogHoldsWasFolded(t *testing.T) {
	cases := map[string]struct {
		late func(log *logtest.Log, n *node, open chan struct{}) // what happens while Sync waits; nil: it need not wait
		want error
	}{
		"at once if there is nothing new": {},
		"when the rest was read": {late: func(_ *logtest.Log, _ *node, open chan struct{}) {
			close(open)
		}},
		"when all is read that is left of a log that lost its end": {late: func(log *logtest.Log, _ *node, open chan struct{}) {
			log.Truncate(1)
			close(open)
		}},
		"when the context ends": {late: func(*logtest.Log, *node, chan struct{}) {}, want: context.DeadlineExceeded},
		"when the table is stopped": {late: func(_ *logtest.Log, n *node, _ chan struct{}) {
			n.end()
		}, want: keyedlog.ErrStopped},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := logtest.New()
				inject(t, log, "n/1", "1")
				inject(t, log, "n/2", "2")
				n, open := lagging(t, log)
				if tc.late != nil {
					inject(t, log, "n/3", "3")
				}
				synced := n.syncing()
				if tc.late != nil {
					select {
					case err := <-synced:
						t.Fatalf("returned %v before the log was read", err)
					default:
					}
					tc.late(log, n, open)
				}
				if err := <-synced; !errors.Is(err, tc.want) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
				if err := n.stop(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestAfterSyncTheRecordsOfOthersAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		b, open := lagging(t, log)
		a.mustPut("n/1", 7)
		b.want("n/1", 0)
		synced := b.syncing()
		close(open)
		if err := <-synced; err != nil {
			t.Fatal(err)
		}
		b.want("n/1", 7)
		if err := errors.Join(a.stop(), b.stop()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestSyncWaitsForABrokerThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		n := newNode(t, log, nil).start()
		log.SetDown(true)
		start := time.Now()
		if err := <-n.syncing(); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, rmq.ErrUnreachable) {
			t.Errorf("got %v, want the context's end and its cause", err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("took %s, want 5s", took)
		}
		go func() { elapse(3 * time.Second); log.SetDown(false) }()
		if err := <-n.syncing(); err != nil {
			t.Error(err)
		}
		if err := n.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
