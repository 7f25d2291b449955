package task

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

// confirmed checks each stored position against what the broker has confirmed by then.
func (h *harness) checkP1(t *testing.T) {
	h.store.check = func(changed record.Positions) {
		have := map[string]bool{}
		for _, body := range h.client.sentBodies() {
			have[body] = true
		}
		for p, pos := range own(changed) {
			if _, ok := h.store.values[bindingEntry("numbers", p)]; !ok {
				t.Errorf("position %s of %s was stored before it was stored which queues its records take", pos, p)
			}
			n, _ := strconv.Atoi(string(pos))
			for i := 1; i <= n; i++ {
				if !have[fmt.Sprintf("%s/%d", p, i)] {
					t.Errorf("position %s of %s was stored while record %d was not confirmed", pos, p, i)
				}
			}
		}
	}
}

func TestSourceStoresOnlyConfirmedPositions(t *testing.T) {
	for seed := range uint64(8) {
		synctest.Test(t, func(t *testing.T) {
			h := newHarness(t)
			h.checkP1(t)
			var mu sync.Mutex
			rng := rand.New(rand.NewPCG(seed, 2))
			h.client.answer = func(rmq.Message) (time.Duration, error) {
				mu.Lock()
				defer mu.Unlock()
				return time.Duration(rng.IntN(1500)) * time.Millisecond, nil
			}
			soft, stop := context.WithCancel(t.Context())
			src := &counting{partitions: 3, limit: 1 << 30, pause: 20 * time.Millisecond}
			time.AfterFunc(10*time.Second, stop)
			if err := h.runner.RunSource(soft, t.Context(), src, h.attempt(nil)); err != nil {
				t.Fatalf("a soft stop ended with %v", err)
			}
			if len(h.store.writes) < 5 {
				t.Errorf("%d stores in 10 s, want one a second", len(h.store.writes))
			}
			wantAllStored(t, h, src)
			if h.client.open != 0 {
				t.Errorf("%d senders were left open", h.client.open)
			}
		})
	}
}

func TestSourceWaitsForABrokerThatStartsAnewBeforeItMakesATopic(t *testing.T) {
	cases := map[string]struct {
		away, stop time.Duration
		wantErr    error
		wantSent   bool
	}{
		"it comes back":                 {away: 20 * time.Second, stop: time.Minute, wantSent: true},
		"it stays away":                 {away: time.Hour, stop: 10 * time.Minute, wantErr: rmq.ErrUnreachable},
		"a stop is asked for meanwhile": {away: time.Hour, stop: 5 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.runner.cfg.RecheckInterval = 10 * time.Second
				h.client.noMaster = true
				back := time.AfterFunc(tc.away, func() {
					h.client.mu.Lock()
					defer h.client.mu.Unlock()
					h.client.noMaster = false
				})
				defer back.Stop()
				soft, stop := context.WithCancel(t.Context())
				defer stop()
				time.AfterFunc(tc.stop, stop)
				begun := time.Now()
				err := h.runner.RunSource(soft, t.Context(), &counting{partitions: 1, limit: 1 << 30, pause: 20 * time.Millisecond}, h.attempt(nil))
				if !errors.Is(err, tc.wantErr) || (len(h.client.sentBodies()) > 0) != tc.wantSent {
					t.Errorf("got %v, %d sent; want %v", err, len(h.client.sentBodies()), tc.wantErr)
				}
				if took := time.Since(begun); tc.wantErr == nil && took > tc.stop+time.Second {
					t.Errorf("the stop took %v", took-tc.stop)
				}
			})
		})
	}
}

// wantAllStored checks that a drain left nothing open: each record up to some place was sent once, in each partition,
// and that place is stored and committed. (What was read but not handed over when the stop came is read again.)
func wantAllStored(t *testing.T, h *harness, src *counting) {
	t.Helper()
	want, seen := record.Positions{}, map[string]int{}
	for _, body := range h.client.sentBodies() {
		seen[body]++
	}
	for p := range src.next {
		n := 0
		for seen[fmt.Sprintf("p%d/%d", p, n+1)] == 1 {
			n++
		}
		if n > 0 {
			want[record.SourcePartition(fmt.Sprint("p", p))] = record.Position(strconv.Itoa(n))
		}
		for range n {
			delete(seen, fmt.Sprintf("p%d/%d", p, n))
			n--
		}
	}
	if len(seen) != 0 {
		t.Errorf("sent behind a gap, or more than once: %v", seen)
	}
	if diff := cmp.Diff(want, h.store.positions()); diff != "" {
		t.Errorf("stored positions (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, src.committed); diff != "" {
		t.Errorf("committed positions (-want +got):\n%s", diff)
	}
}

func TestSourceGoesOnFromStoredPositions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		src := &counting{partitions: 2, limit: 1 << 30, pause: 10 * time.Millisecond}
		for range 3 {
			soft, stop := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, stop)
			if err := h.runner.RunSource(soft, t.Context(), src, h.attempt(nil)); err != nil {
				t.Fatal(err)
			}
			h.id.Attempt++
		}
		src.committed = h.store.positions()
		wantAllStored(t, h, src)
		want := []string{"task-start c/0 generation=7 epoch=3 attempt=1", "task-stop c/0 generation=7 epoch=3 attempt=1"}
		if diff := cmp.Diff(want, h.audits[:2]); diff != "" {
			t.Errorf("audit lines (-want +got):\n%s", diff)
		}
	})
}

func TestHardStopStoresNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.client.answer = func(rmq.Message) (time.Duration, error) { return time.Hour, nil }
		hard, kill := context.WithCancel(t.Context())
		time.AfterFunc(3*time.Second, kill)
		src := &counting{partitions: 1, limit: 50, pause: 10 * time.Millisecond}
		if err := h.runner.RunSource(hard, hard, src, h.attempt(nil)); !errors.Is(err, context.Canceled) {
			t.Errorf("a hard stop ended with %v", err)
		}
		if len(h.store.writes) != 0 || len(h.client.sentBodies()) != 0 || src.closes != 1 {
			t.Errorf("stored %v, sent %v, closed %d times", h.store.writes, h.client.sentBodies(), src.closes)
		}
	})
}

func TestLostSourceStopsWithoutStoring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		time.AfterFunc(2500*time.Millisecond, func() { h.gate.end(true) })
		src := &counting{partitions: 1, limit: 1 << 30, pause: 100 * time.Millisecond}
		began := time.Now()
		err := h.runner.RunSource(t.Context(), t.Context(), src, h.attempt(nil))
		if !errors.Is(err, ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("stopped only after %v", took)
		}
		if len(h.store.writes) != 2 {
			t.Errorf("%d stores, want the two of the time before the loss", len(h.store.writes))
		}
	})
}

func TestFencedSourceIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.store.fail = fmt.Errorf("%w: a newer attempt has written", ErrLost)
		src := &counting{partitions: 1, limit: 1 << 30, pause: 100 * time.Millisecond}
		if err := h.runner.RunSource(t.Context(), t.Context(), src, h.attempt(nil)); !errors.Is(err, ErrLost) {
			t.Errorf("got %v, want ErrLost", err)
		}
	})
}

func TestStoreOutageHoldsUpNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		h.store.fail = errors.New("broker busy")
		soft, stop := context.WithCancel(t.Context())
		src := &counting{partitions: 1, limit: 1 << 30, pause: 100 * time.Millisecond}
		time.AfterFunc(10*time.Second, stop)
		time.AfterFunc(12*time.Second, func() {
			h.store.mu.Lock()
			defer h.store.mu.Unlock()
			h.store.fail = nil
		})
		if err := h.runner.RunSource(soft, t.Context(), src, h.attempt(nil)); err != nil {
			t.Fatal(err)
		}
		wantAllStored(t, h, src)
	})
}

func TestSourceEndings(t *testing.T) {
	boom := errors.New("boom")
	cases := map[string]struct {
		source     *counting
		wantErr    error
		wantPanic  bool
		wantStored bool
	}{
		"the end of the source drains": {
			source:     &counting{pollErr: connector.ErrEndOfSource, failAfter: 20},
			wantErr:    connector.ErrEndOfSource,
			wantStored: true,
		},
		"a failing poll drains what was read and is named": {source: &counting{pollErr: boom, failAfter: 20}, wantErr: boom, wantStored: true},
		"a lost connection drains what was read": {
			source:     &counting{pollErr: connector.ErrNotConnected, failAfter: 20},
			wantErr:    connector.ErrNotConnected,
			wantStored: true,
		},
		"a panic fails the task and nothing else": {source: &counting{panics: true, failAfter: 20}, wantPanic: true, wantStored: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				tc.source.partitions, tc.source.limit, tc.source.pause = 2, 1<<30, 10*time.Millisecond
				err := h.runner.RunSource(t.Context(), t.Context(), tc.source, h.attempt(nil))
				if tc.wantErr != nil && !errors.Is(err, tc.wantErr) {
					t.Errorf("got %v, want %v", err, tc.wantErr)
				}
				if panicked := (*service.PanicError)(nil); errors.As(err, &panicked) != tc.wantPanic {
					t.Errorf("got %v, want a panic: %v", err, tc.wantPanic)
				}
				if tc.wantStored {
					wantAllStored(t, h, tc.source)
				}
				if tc.source.closes != 1 || len(h.audits) != 2 {
					t.Errorf("closed %d times, audit lines %q", tc.source.closes, h.audits)
				}
			})
		})
	}
}

func TestSourceWhoseSystemIsAwayAtTheStart(t *testing.T) {
	away, wrong := fmt.Errorf("%w: refused", connector.ErrNotConnected), errors.New("a setting is wrong")
	cases := map[string]struct {
		openErrs  []error
		stopAfter time.Duration
		wantErr   error
		wantWaits int
		wantOpen  bool
	}{
		"is opened when the system comes back, within the attempt": {
			openErrs:  []error{away, away, away},
			stopAfter: 5 * time.Second,
			wantWaits: 3,
			wantOpen:  true,
		},
		"stops cleanly while it waits": {
			openErrs:  slices.Repeat([]error{away}, 100),
			stopAfter: 5 * time.Second,
			wantWaits: 5,
		},
		"fails for another reason": {
			openErrs:  []error{away, wrong},
			stopAfter: 5 * time.Second,
			wantWaits: 1,
			wantErr:   wrong,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				source := &counting{partitions: 1, limit: 10, pause: 10 * time.Millisecond, openErrs: tc.openErrs}
				soft, stop := context.WithTimeout(t.Context(), tc.stopAfter)
				defer stop()
				err := h.runner.RunSource(soft, t.Context(), source, h.attempt(nil))
				if !errors.Is(err, tc.wantErr) {
					t.Errorf("got %v, want %v", err, tc.wantErr)
				}
				if len(h.waits) != tc.wantWaits || h.opened != tc.wantOpen || source.opens != source.closes {
					t.Errorf("waited %d times, open: %t; opened %d times, closed %d times", len(h.waits), h.opened, source.opens, source.closes)
				}
				if tc.wantOpen {
					wantAllStored(t, h, source)
				}
			})
		})
	}
}

func TestSourcePoison(t *testing.T) {
	tooLarge := func(m rmq.Message) (time.Duration, error) {
		if string(m.Body) == "p0/7" {
			return 0, &rmq.BrokerError{Op: "send", Addr: "b", Code: 13, Remark: "the message is illegal, maybe msg body size not matched"}
		}
		return 0, nil
	}
	cases := map[string]struct {
		tolerance string
		wantErr   []string // parts of the text
	}{
		"tolerance none fails the task and names the record and the key": {wantErr: []string{"p0 at 7", "errors.tolerance=all", "code 13"}},
		"tolerance all goes on behind the record":                        {tolerance: "all"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.client.answer = tooLarge
				soft, stop := context.WithCancel(t.Context())
				time.AfterFunc(3*time.Second, stop)
				src := &counting{partitions: 1, limit: 20, pause: 10 * time.Millisecond}
				err := h.runner.RunSource(soft, t.Context(), src, h.attempt(connector.Config{"errors.tolerance": tc.tolerance}))
				if len(tc.wantErr) == 0 {
					if err != nil || h.store.read()["p0"] != "20" {
						t.Errorf("ended with %v at %v, want position 20", err, h.store.read())
					}
					return
				}
				for _, part := range tc.wantErr {
					if err == nil || !strings.Contains(err.Error(), part) {
						t.Errorf("error %v does not say %q", err, part)
					}
				}
				if got := h.store.read()["p0"]; got != "6" {
					t.Errorf("stored position %q, want 6: the one before the record that was refused", got)
				}
			})
		})
	}
}
