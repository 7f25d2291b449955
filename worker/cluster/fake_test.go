package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memoryLog is a log in memory with faults.
type memoryLog struct {
	mu      sync.Mutex
	first   int64
	entries []rmq.Entry
	grown   chan struct{}
	down    bool // appends and tails wait
	outages int  // so far: whoever follows reconnects after each
	refuse  error
}

func newLog() *memoryLog { return &memoryLog{grown: make(chan struct{})} }

const appendTakes = time.Millisecond

func (l *memoryLog) Append(ctx context.Context, entries ...rmq.Entry) (int64, error) {
	if err := service.Sleep(ctx, appendTakes); err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.down {
		grown := l.grown
		l.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
		}
		l.mu.Lock()
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
	}
	if l.refuse != nil {
		return 0, l.refuse
	}
	end := l.first + int64(len(l.entries))
	for i, e := range entries {
		e.Offset = end + int64(i)
		l.entries = append(l.entries, e)
	}
	l.changed()
	return end, nil
}

func (l *memoryLog) changed() {
	close(l.grown)
	l.grown = make(chan struct{})
}

func (l *memoryLog) Bounds(context.Context) (int64, int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first, l.first + int64(len(l.entries)), nil
}

func (l *memoryLog) Read(_ context.Context, from int64, fn func(rmq.Entry) error) (int64, error) {
	entries, _, err := l.after(from)
	for _, e := range entries {
		if err := fn(e); err != nil {
			return from, err
		}
		from = e.Offset + 1
	}
	return from, err
}

func (l *memoryLog) after(from int64) ([]rmq.Entry, chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	end := l.first + int64(len(l.entries))
	switch {
	case from < l.first || from > end:
		return nil, nil, fmt.Errorf("reading at %d: %w", from, rmq.ErrTruncated)
	case l.down:
		return nil, l.grown, nil
	}
	return l.entries[from-l.first:], l.grown, nil
}

func (l *memoryLog) Follow(ctx context.Context, from, _ int64, fn func(rmq.Entry) error) error {
	for outages := l.outagesNow(); ; {
		if now := l.outagesNow(); now != outages && from > 0 {
			outages, from = now, from-1
		}
		entries, grown, err := l.after(from)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := fn(e); err != nil {
				return err
			}
			from = e.Offset + 1
		}
		if len(entries) > 0 {
			continue
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (l *memoryLog) setDown(down bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = down
	if down {
		l.outages++
	}
	l.changed()
}

func (l *memoryLog) outagesNow() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.outages
}

func (l *memoryLog) setRefuse(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = err
}

// truncate throws all away and lets offsets begin again.
func (l *memoryLog) truncate() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = nil
	l.changed()
}

// replaceLast puts another record where the last one was, as a broker does that lost it and got another.
func (l *memoryLog) replaceLast() {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.entries) - 1
	l.entries = append(slices.Clone(l.entries[:n]), rmq.Entry{Offset: l.entries[n].Offset, Value: []byte("{}")})
}

// skip appends a record behind n offsets that hold none.
func (l *memoryLog) skip(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.entries = append(l.entries, rmq.Entry{Offset: l.first + int64(len(l.entries)) + n, Value: []byte("{}")})
	l.changed()
}

// process is one worker process in a test.
type process struct {
	*Cluster
	t      *testing.T
	cut    chan struct{} // closed when the process is killed
	cancel context.CancelFunc
	done   chan error
}

// link is a process's way to the log; it ends when the process is killed.
type link struct {
	Log
	cut chan struct{}
}

var errKilled = errors.New("killed")

func (l link) Append(ctx context.Context, entries ...rmq.Entry) (int64, error) {
	select {
	case <-l.cut:
		<-ctx.Done()
		return 0, errKilled
	default:
		return l.Log.Append(ctx, entries...)
	}
}

func testLog(t *testing.T) logr.Logger {
	t.Helper()
	return funcr.New(func(_, args string) { t.Log(args) }, funcr.Options{})
}

func testConfig(t *testing.T, id, dir string) Config {
	t.Helper()
	base := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // the bubble's epoch
	return Config{
		WorkerID:   id,
		Address:    "host-of-" + id,
		StoreDir:   dir,
		Log:        testLog(t).WithValues("by", id),
		Registerer: prometheus.NewRegistry(),
		Clock:      func() (time.Duration, time.Duration) { return time.Since(base), time.Since(base) },
	}
}

// launch starts a process and does not wait until it has joined.
func launch(t *testing.T, l Log, cfg Config) *process {
	t.Helper()
	p := &process{t: t, cut: make(chan struct{}), done: make(chan error, 1)}
	c, err := New(cfg, func(context.Context) (Log, error) { return link{l, p.cut}, nil })
	if err != nil {
		t.Fatal(err)
	}
	p.Cluster = c
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	stopping := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), 3*time.Second)
	}
	go func() { p.done <- service.Run(ctx, stopping, c.Service()) }()
	t.Cleanup(func() {
		cancel()
		<-p.done
	})
	return p
}

// startWorker launches a process and waits until it has joined.
func startWorker(t *testing.T, l Log, id, dir string) *process {
	t.Helper()
	p := launch(t, l, testConfig(t, id, dir))
	p.eventually("it joins", 30*time.Second, func(v View) bool { return v.Joined })
	return p
}

// eventually waits, in the bubble's time, until the view is as wanted.
func (p *process) eventually(what string, within time.Duration, ok func(View) bool) {
	p.t.Helper()
	start := time.Now()
	for !ok(p.View()) {
		if time.Since(start) > within {
			p.t.Fatalf("worker %s: not within %v: %s; view %+v", p.cfg.WorkerID, within, what, p.View())
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
	}
}

// stopClean stops the process and waits for its end.
func (p *process) stopClean() error {
	p.cancel()
	err := <-p.done
	p.done <- err
	return err
}

// kill ends the process as SIGKILL would: nothing more reaches the log, and its locks go.
func (p *process) kill() {
	close(p.cut)
	p.cancel()
	<-p.done
	p.done <- errKilled
}

func (p *process) claim(unit Unit, epoch int64) Grant {
	p.t.Helper()
	granted, err := p.Claim(context.Background(), []ClaimRequest{{Unit: unit, Epoch: epoch}})
	if err != nil || len(granted) != 1 {
		p.t.Fatalf("worker %s claims %v: %v, %v", p.cfg.WorkerID, unit, granted, err)
	}
	return granted[0]
}

func valueOf(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// longRenewals is how many leases were older than all bounds when they were renewed.
func longRenewals(t *testing.T, h prometheus.Histogram) uint64 {
	t.Helper()
	var m dto.Metric
	if err := h.Write(&m); err != nil {
		t.Fatal(err)
	}
	b := m.GetHistogram().GetBucket()
	return m.GetHistogram().GetSampleCount() - b[len(b)-1].GetCumulativeCount()
}
