package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// The demo starts itself for its workers, so the test program has to be one, too.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		os.Exit(child(os.Args[2:]))
	}
	goleak.VerifyTestMain(m)
}

// patience is how long something may take that takes far less on an idle machine.
const patience = 60 * time.Second

func (d *demo) await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	late := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case err := <-d.failed:
			t.Fatalf("waiting for %s: the demo failed: %v", what, err)
		case <-late:
			t.Fatalf("waited for %s in vain: %s\n%s", what, summary(d.frame(t.Context())), strings.Join(d.journal.last(), "\n"))
		case <-tick.C:
		}
	}
}

// spread reports whether every task runs, and none on the worker.
func (d *demo) spread(without string) bool {
	_, all, from := d.observer.view()
	n := 0
	for _, u := range all {
		if u.Task != "" && u.State == restapi.StateRunning && u.Worker != without {
			n++
		}
	}
	return from != "" && n == 2*tasks
}

func (d *demo) desired() string {
	d.observer.mu.Lock()
	defer d.observer.mu.Unlock()
	return d.observer.connectors[sourceName].Desired
}

func started(t *testing.T) *demo {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	d, err := open(t.Context(), 300, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.close(); err != nil {
			t.Error(err)
		}
		left, err := filepath.Glob(filepath.Join(os.TempDir(), "*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v (%v)", left, err)
		}
		for _, w := range d.fleet.list() {
			if w.Running {
				t.Errorf("%s still runs", w.ID)
			}
		}
	})
	return d
}

func TestTasksOfAKilledWorkerMoveAndNothingIsLost(t *testing.T) {
	d := started(t)
	d.await(t, "records to come back", func() bool { return d.ledger.count().Out > 300 && d.spread("") })
	_, all, _ := d.observer.view()
	victim := slices.IndexFunc(d.fleet.list(), func(w workerState) bool {
		return slices.ContainsFunc(all, func(u unit) bool { return u.Task != "" && u.Name == sinkName && u.Worker == w.ID })
	})
	if victim < 0 {
		t.Fatalf("nobody owns a sink task: %v", all)
	}
	if on, err := d.press(t.Context(), byte('1'+victim)); !on || err != nil {
		t.Fatalf("pressing a worker's key: %v, %v", on, err)
	}
	lost := d.fleet.list()[victim]
	if lost.Running || !lost.Killed {
		t.Fatalf("the worker is not dead: %+v", lost)
	}
	in := d.ledger.count().In
	d.await(t, "the tasks to move", func() bool { return d.spread(lost.ID) })
	d.await(t, "what waited to come back", func() bool { return d.ledger.count().Out > in })
	if _, err := d.press(t.Context(), byte('1'+victim)); err != nil {
		t.Fatal(err)
	}
	d.await(t, "the worker to come back", func() bool {
		members, _, _ := d.observer.view()
		return slices.Contains(members, lost.ID) && d.spread("")
	})
	got, err := d.settle(t.Context())
	if err != nil || got.Missing != 0 || got.Damaged != 0 || got.Out != got.In {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestThePausedSourceLeavesRecordsInKafka(t *testing.T) {
	d := started(t)
	d.await(t, "records to come back", func() bool { return d.ledger.count().Out > 300 && d.spread("") })
	if _, err := d.press(t.Context(), 'p'); err != nil {
		t.Fatal(err)
	}
	d.await(t, "the source to pause", func() bool {
		_, all, _ := d.observer.view()
		paused := 0
		for _, u := range all {
			if u.Name == sourceName && u.Task != "" && u.State == restapi.StatePaused {
				paused++
			}
		}
		return paused == tasks && d.desired() == restapi.StatePaused
	})
	if err := d.brokers.trimTo(t.Context(), 1_000_000); err != nil { // keeps everything
		t.Error(err)
	}
	// Batches that were on the way when the source paused may still arrive; then nothing does, while records go on to come
	// in.
	through, in := int64(-1), d.ledger.count().In
	d.await(t, "records to wait in Kafka", func() bool {
		now := d.frame(t.Context()).Through
		if now != through {
			through, in = now, d.ledger.count().In
		}
		return d.ledger.count().In > in+300
	})
	if _, err := d.press(t.Context(), 'p'); err != nil {
		t.Fatal(err)
	}
	got, err := d.settle(t.Context())
	if err != nil || got.Missing != 0 || got.Damaged != 0 || got.Repeated != 0 {
		t.Errorf("%+v, %v", got, err)
	}
	if err := d.brokers.trimTo(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

// timed runs the demo as from a shell, with standard input that has ended.
func timed(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	in, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var told bytes.Buffer
	code = run(args, in, file, &told)
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	return code, string(text), told.String()
}

func TestATimedRunKillsAWorkerAndEndsWithNoneMissing(t *testing.T) {
	code, out, errOut := timed(t, "-for", "2s", "-kill-after", "1s", "-rate", "200")
	if code != 0 {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	for _, want := range []string{"RocketMQ listens on 127.0.0.1:", "worker-3 joined the cluster", "kafka-to-rocketmq/0 runs on worker-",
		"worker-2 was killed (SIGKILL)", "back, 0 on the way, 0 missing, ", " records went round: 0 missing, 0 damaged, "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
}

func TestARecordThatIsMissingOrDamagedEndsARunWithAnError(t *testing.T) {
	cases := map[string]struct {
		spoil       func(*ledger)
		wantVerdict string
		wantErr     string
	}{
		"a record that Kafka has, and that nobody brings back": {
			func(l *ledger) { l.next(0); l.confirmed() }, ": 1 missing, 0 damaged, ", "waiting for the last records: 1 of ",
		},
		"a record that is not as it went in": {
			func(l *ledger) { l.see([]byte("key-0"), []byte("0 of key-1:"+filler)) }, ": 0 missing, 1 damaged, ", "1 records are damaged",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := started(t)
			d.await(t, "records to come back", func() bool { return d.ledger.count().Out > 300 && d.spread("") })
			d.stopFeed()
			<-d.fed
			d.await(t, "all records to come back", func() bool { return d.ledger.count().InFlight() == 0 })
			tc.spoil(d.ledger)
			ctx, cancel := context.WithTimeout(t.Context(), 4*sampleEvery) // nothing more comes, however long it waits
			defer cancel()
			verdict, err := d.finish(ctx)
			if err == nil || !strings.Contains(err.Error(), tc.wantErr) || !strings.Contains(verdict, tc.wantVerdict) {
				t.Errorf("%q, %v; want %q and %q", verdict, err, tc.wantVerdict, tc.wantErr)
			}
		})
	}
}

func TestTheTimesOfARunCountFromItsFirstRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		due := newAlarms(options{length: 3 * time.Second, kill: time.Second})
		if due.end != nil || due.kill != nil {
			t.Error("the run may end, or a worker be killed, before a record came back")
		}
		due.see(totals{In: 5})
		time.Sleep(startTimeout / 2)
		due.see(totals{In: 5, Out: 1})
		begin := time.Now()
		<-due.kill
		due.see(totals{In: 9, Out: 7})
		<-due.end
		if took := time.Since(begin); took != 3*time.Second || due.late != nil {
			t.Errorf("the run ended after %s; late: %t", took, due.late != nil)
		}
		due = newAlarms(options{length: time.Second})
		<-due.late
		if forever := newAlarms(options{kill: time.Second}); forever.late != nil || forever.end != nil {
			t.Error("a run that only keys end has an end")
		}
	})
}

func TestFlags(t *testing.T) {
	cases := map[string]struct {
		args     []string
		wantCode int
		wantErr  string
	}{
		"help":            {[]string{"-h"}, 0, "-kill-after"},
		"an unknown flag": {[]string{"-x"}, exitInvalid, "-x"},
		"an argument":     {[]string{"x"}, exitInvalid, "usage:"},
		"no records":      {[]string{"-rate", "0"}, exitInvalid, "usage:"},
		"a negative time": {[]string{"-for", "-1s"}, exitInvalid, "usage:"},
		"a kill too late": {[]string{"-for", "2s", "-kill-after", "2s"}, exitInvalid, "usage:"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var errOut bytes.Buffer
			if code := run(tc.args, os.Stdin, os.Stdout, &errOut); code != tc.wantCode || !strings.Contains(errOut.String(), tc.wantErr) {
				t.Errorf("exit code %d, standard error %q", code, &errOut)
			}
		})
	}
}

func TestAWorkerThatCannotStartSaysWhy(t *testing.T) {
	dir := t.TempDir()
	j := newJournal(nil)
	f := newFleet(dir, "no address", 1, j)
	if err := f.start(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	<-f.processes[0].done
	if w := f.list()[0]; w.Running || w.Killed || !strings.Contains(w.Why, "namesrvAddr must be host:port") {
		t.Errorf("%+v", w)
	}
	f.stop()
	if err := work(nil); err == nil {
		t.Error("a worker without a configuration starts")
	}
	if _, err := os.Stat(filepath.Join(dir, "worker-1")); errors.Is(err, fs.ErrNotExist) {
		t.Error("the worker has no folder of its own")
	}
}

func TestTheDemoEndsWithItsContext(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	d, err := open(ctx, 100, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := d.loop(ctx, options{}, nil, &bytes.Buffer{}); err != nil {
		t.Error(err)
	}
	if err := d.close(); err != nil {
		t.Error(err)
	}
}

func TestHowARunEndedIsItsExitCode(t *testing.T) {
	for err, want := range map[error]int{nil: 0, errInterrupted: 130, errors.New("2 records are missing"): 1} {
		if got := exitCode(err); got != want {
			t.Errorf("%v: %d, want %d", err, got, want)
		}
	}
}
