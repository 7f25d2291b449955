package keyedlog_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/keyedlog/logtest"
	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// highest is a fold in which the highest number of a key wins.
type highest map[string]int

func (h highest) Apply(e rmq.Entry) (replica.Verdict, error) {
	key, value := e.Key, e.Value
	if !strings.HasPrefix(key, "n/") {
		return replica.Foreign, errors.New("no such kind")
	}
	n, err := strconv.Atoi(string(value))
	if err != nil {
		return replica.Malformed, err
	}
	held, ok := h[key]
	switch {
	case !ok || n > held:
		h[key] = n
		return replica.Accepted, nil
	case n == held:
		return replica.Same, nil
	}
	return replica.Refused, nil
}

func (h highest) Current(key string) ([]byte, bool) {
	n, ok := h[key]
	return []byte(strconv.Itoa(n)), ok
}

func (h highest) Keys() []string { return slices.Collect(maps.Keys(h)) }

// node is one worker's table of a log, running in a synctest bubble.
type node struct {
	*keyedlog.Table
	t    *testing.T
	fold highest
	reg  *prometheus.Registry
	logs *lines
	end  context.CancelFunc
	done chan error
}

type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(prefix, args string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, prefix+args)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.all {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}

func newNode(t *testing.T, log *logtest.Log, change func(*keyedlog.Options)) *node {
	t.Helper()
	n := &node{t: t, fold: highest{}, reg: prometheus.NewRegistry(), logs: &lines{}, done: make(chan error, 1)}
	opts := keyedlog.Options{
		Name: "test", Fold: n.fold, Metrics: keyedlog.NewMetrics(n.reg),
		Open: func(context.Context) (keyedlog.Log, error) { return log, nil },
		Log:  funcr.New(n.logs.add, funcr.Options{}),
	}
	if change != nil {
		change(&opts)
	}
	table, err := keyedlog.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	n.Table = table
	return n
}

func (n *node) start() *node {
	var ctx context.Context
	ctx, n.end = context.WithCancel(context.Background())
	stopping := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), time.Minute)
	}
	go func() { n.done <- service.Run(ctx, stopping, n.Service()) }()
	synctest.Wait()
	return n
}

func (n *node) stop() error {
	n.end()
	return <-n.done
}

func (n *node) put(key string, value int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return n.Append(ctx, keyedlog.Record{Key: key, Value: []byte(strconv.Itoa(value))})
}

func (n *node) mustPut(key string, value int) {
	n.t.Helper()
	if err := n.put(key, value); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) want(key string, want int) {
	n.t.Helper()
	got := 0
	n.View(func() { got = n.fold[key] })
	if got != want {
		n.t.Errorf("%s is %d, want %d", key, got, want)
	}
}

// counts gives a counter's values by one of its labels.
func (n *node) counts(name, label string) map[string]float64 {
	n.t.Helper()
	families, err := n.reg.Gather()
	if err != nil {
		n.t.Fatal(err)
	}
	out := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if family.GetName() == name && l.GetName() == label {
					out[l.GetValue()] += m.GetCounter().GetValue()
				}
			}
		}
	}
	return out
}

func wantLast(t *testing.T, log *logtest.Log, key, want string) {
	t.Helper()
	got := "nothing"
	for _, e := range log.Entries() {
		if e.Key == key {
			got = string(e.Value)
		}
	}
	if got != want {
		t.Errorf("the last record of %s is %s, want %s", key, got, want)
	}
}

func inject(t *testing.T, log *logtest.Log, key, value string) {
	t.Helper()
	if _, err := log.Append(context.Background(), rmq.Entry{Key: key, Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}

// never owns no key.
func never(o *keyedlog.Options) { o.Owns = func(string) bool { return false } }

func TestAppendReturnsWhenItsRecordWasFolded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a, b := newNode(t, log, nil).start(), newNode(t, log, nil).start()
		changed, stop := b.Watch()
		defer stop()
		a.mustPut("n/1", 7)
		a.want("n/1", 7)
		<-changed
		b.want("n/1", 7)
		if err := errors.Join(a.stop(), b.stop()); err != nil {
			t.Fatal(err)
		}
		c := newNode(t, log, nil).start()
		c.want("n/1", 7)
		if err := c.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAppendsOfManyCallersShareBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		log.SetDown(false)
		a := newNode(t, log, nil)
		var group service.Group
		for i := range 1500 {
			group.Go(func() {
				if err := a.put(fmt.Sprintf("n/%d", i), i+1); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		a.start()
		group.Wait()
		if got := log.Batches(); len(got) > 4 || slices.Max(got) > 512 {
			t.Errorf("1500 waiting appends made batches of %v", got)
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAppendHonoursItsContextDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		log.SetDown(true)
		start := time.Now()
		if err := a.put("n/1", 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's end", err)
		}
		if took := time.Since(start); took != 5*time.Second {
			t.Errorf("took %s, want 5s", took)
		}
		go func() { elapse(3 * time.Second); log.SetDown(false) }()
		a.mustPut("n/1", 2)
		if got := len(log.Entries()); got != 1 {
			t.Errorf("%d records are stored, want 1: nobody waited for the first", got)
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAppendThatFailedButWasStoredIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		log.FailAppends(2, true)
		a.mustPut("n/1", 1)
		a.want("n/1", 1)
		if got := len(log.Entries()); got != 3 {
			t.Errorf("%d records are stored, want 3", got)
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// The broker stores it each time.
func TestAppendThatIsNotConfirmedIsRepeatedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		log.LeaveUnconfirmed(5)
		if err := a.Append(t.Context(), keyedlog.Record{Key: "n/1", Value: []byte("1")}); err != nil {
			t.Fatal(err)
		}
		var pauses []time.Duration
		entries := log.Entries()
		for i := 1; i < len(entries); i++ {
			pauses = append(pauses, entries[i].StoredAt.Sub(entries[i-1].StoredAt))
		}
		want := []time.Duration{1, 2, 4, 8, 10}
		for i := range want {
			want[i] *= time.Second
		}
		if diff := cmp.Diff(want, pauses); diff != "" {
			t.Errorf("repeated after (-want +got):\n%s", diff)
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestARecordThatIsTooLargeFailsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		log.SetMaxSize(3)
		a := newNode(t, log, nil)
		var group service.Group
		var large, small error
		group.Go(func() { large = a.put("n/1", 1000000) })
		group.Go(func() { small = a.put("n/2", 2) })
		synctest.Wait()
		a.start()
		group.Wait()
		if !errors.Is(large, rmq.ErrTooLarge) || small != nil {
			t.Errorf("got %v and %v", large, small)
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAppendAfterTheStopFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		log.SetDown(true)
		failed := make(chan error, 1)
		go func() { failed <- a.put("n/1", 1) }()
		synctest.Wait()
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !errors.Is(err, keyedlog.ErrStopped) {
			t.Errorf("got %v, want ErrStopped", err)
		}
	})
}

// Invariant P3: the newest value keeps its place.
func TestARefusedRecordIsFollowedByTheNewestValue(t *testing.T) {
	cases := map[string]struct {
		owner     bool
		record    string
		wantAfter time.Duration
	}{
		"an owner publishes again after a settling time":    {owner: true, record: "3", wantAfter: 2 * time.Second},
		"others publish again when no owner has":            {owner: false, record: "3", wantAfter: 22 * time.Second},
		"a malformed record hides the newest value as well": {owner: true, record: "x", wantAfter: 2 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := logtest.New()
				a := newNode(t, log, func(o *keyedlog.Options) { o.Owns = func(string) bool { return tc.owner } }).start()
				a.mustPut("n/1", 5)
				inject(t, log, "n/1", tc.record)
				elapse(tc.wantAfter)
				synctest.Wait()
				wantLast(t, log, "n/1", "5")
				size := len(log.Entries())
				elapse(5 * time.Minute)
				if got := len(log.Entries()); got != size {
					t.Errorf("%d records more were published without need", got-size)
				}
				log.Compact()
				b := newNode(t, log, nil).start()
				b.want("n/1", 5)
				if err := errors.Join(a.stop(), b.stop()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestTheOwnersNextWriteSavesPublishingAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		a.mustPut("n/1", 5)
		inject(t, log, "n/1", "3")
		a.mustPut("n/1", 6)
		elapse(time.Minute)
		if got := len(log.Entries()); got != 3 {
			t.Errorf("%d records are stored, want 3", got)
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestForeignRecordsAreCountedAndLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		for i := range 100 {
			inject(t, log, "other", strconv.Itoa(i))
			inject(t, log, "n/1", "x")
		}
		inject(t, log, "", "")
		a := newNode(t, log, nil).start()
		a.mustPut("n/1", 1)
		elapse(time.Hour)
		if got := len(log.Entries()); got != 202 {
			t.Errorf("%d records are stored, want 202", got)
		}
		want := map[string]float64{"foreign": 101, "malformed": 100, "refused": 0}
		if diff := cmp.Diff(want, a.counts("connect_worker_store_refused_records_total", "reason")); diff != "" {
			t.Error(diff)
		}
		if got := a.logs.count("Ignoring a record"); got != 1 {
			t.Errorf("201 bad records were logged %d times, want once", got)
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// elapse lets a bubble's fake time pass.
func elapse(d time.Duration) { time.Sleep(d) }
