package keyedlog_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/keyedlog/logtest"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

func TestStartWaitsForTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		inject(t, log, "n/1", "4")
		log.SetDown(true)
		a := newNode(t, log, nil).start()
		elapse(time.Minute)
		if a.logs.count("Waiting for the topic") == 0 {
			t.Error("nobody was told of the wait")
		}
		log.SetDown(false)
		elapse(5 * time.Second)
		a.want("n/1", 4)
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestStartThatWaitsEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		log.SetDown(true)
		a := newNode(t, log, nil).start()
		if err := a.stop(); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's end", err)
		}
	})
}

func TestLastingErrorsEndTheWorker(t *testing.T) {
	cases := map[string]error{
		"the topic is no longer one queue":      fmt.Errorf("checking: %w", rmq.ErrTopicShape),
		"the client was closed under the table": rmq.ErrClosed,
	}
	for name, broken := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := logtest.New()
				a := newNode(t, log, nil).start()
				log.Break(broken)
				if err := <-a.done; !errors.Is(err, broken) {
					t.Errorf("running: got %v, want %v", err, broken)
				}
				a.end()
				b := newNode(t, log, func(o *keyedlog.Options) {
					o.Open = func(context.Context) (keyedlog.Log, error) { return nil, broken }
				}).start()
				if err := <-b.done; !errors.Is(err, broken) {
					t.Errorf("starting: got %v, want %v", err, broken)
				}
				b.end()
			})
		})
	}
}

func TestRefusedAccessIsWaitedFor(t *testing.T) {
	refused := &rmq.BrokerError{Op: "pulling", Broker: "broker-a", Code: 16, Why: "accessKey needs the permission Sub on Topic:config"}
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		inject(t, log, "n/1", "4")
		var granted atomic.Bool
		a := newNode(t, log, func(o *keyedlog.Options) {
			open := o.Open
			o.Open = func(ctx context.Context) (keyedlog.Log, error) {
				if !granted.Load() {
					return nil, refused
				}
				return open(ctx)
			}
		}).start()
		told := func() {
			t.Helper()
			elapse(time.Minute)
			if trouble, ok := a.Trouble(); !ok || !errors.Is(trouble.Err, rmq.ErrAccessDenied) {
				t.Errorf("trouble %v %t", trouble, ok)
			}
		}
		told()
		granted.Store(true)
		elapse(5 * time.Second)
		a.want("n/1", 4)
		log.Break(refused)
		told()
		log.Break(nil)
		elapse(5 * time.Second)
		a.mustPut("n/1", 5)
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestTailGoesOnAfterAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		log.Break(fmt.Errorf("pulling: %w", rmq.ErrUnreachable))
		elapse(time.Minute)
		log.Break(nil)
		a.mustPut("n/1", 1)
		a.want("n/1", 1)
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReadingGoesOnBehindWhatAgedOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, never).start()
		a.mustPut("n/1", 1)
		a.mustPut("n/2", 2)
		log.SetDown(true)
		synctest.Wait()
		log.SetDown(false)
		log.AgeOut(2)
		a.mustPut("n/3", 3)
		a.want("n/1", 1)
		b := newNode(t, log, never).start()
		b.want("n/3", 3)
		if err := errors.Join(a.stop(), b.stop()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestAGapAtTheReadersPlaceIsSkipped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		a.mustPut("n/1", 1)
		log.Break(fmt.Errorf("pulling: %w", rmq.ErrUnreachable))
		elapse(10 * time.Second)
		log.Break(nil)
		inject(t, log, "n/1", "2")
		inject(t, log, "n/1", "3")
		log.AgeOut(2)
		elapse(10 * time.Second)
		a.want("n/1", 3)
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestATopicThatLostRecordsGetsThemBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		b := newNode(t, log, never).start()
		for i := range 5 {
			a.mustPut(fmt.Sprintf("n/%d", i), i+1)
		}
		a.mustPut("n/0", 9)
		log.Truncate(3)
		elapse(30 * time.Second)
		wantLast(t, log, "n/0", "9")
		wantLast(t, log, "n/3", "4")
		wantLast(t, log, "n/4", "5")
		if a.logs.count("Publishing again what the topic lost") != 1 {
			t.Error("the loss was not logged once")
		}
		b.want("n/4", 5)
		c := newNode(t, log, never).start()
		c.want("n/0", 9)
		c.want("n/4", 5)
		if err := errors.Join(a.stop(), b.stop(), c.stop()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestATopicWhoseLostOffsetsWereGivenOutAgainGetsItsValuesBack(t *testing.T) {
	cases := map[string]struct {
		idle bool // nothing was read since the reading began
		more int
	}{
		"up to the last one":                       {more: 3},
		"and more":                                 {more: 10},
		"and more than is gone over":               {more: 200},
		"and nothing had come since reading began": {idle: true, more: 3},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := logtest.New()
				a := newNode(t, log, nil).start()
				for i := range 6 {
					a.mustPut(fmt.Sprintf("n/%d", i), i+1)
				}
				if tc.idle {
					if err := a.stop(); err != nil {
						t.Fatal(err)
					}
					a = newNode(t, log, nil).start()
					synctest.Wait()
				}
				elapse(time.Second)
				log.SetDown(true)
				synctest.Wait()
				others := make([]rmq.Entry, tc.more)
				for i := range others {
					others[i] = rmq.Entry{Key: fmt.Sprintf("n/other-%d", i), Value: []byte("7")}
				}
				log.Rewrite(3, others...)
				log.SetDown(false)
				elapse(30 * time.Second)
				wantLast(t, log, "n/3", "4")
				wantLast(t, log, "n/5", "6")
				a.want("n/other-0", 7)
				if a.logs.count("Publishing again what the topic lost") != 1 {
					t.Error("the loss was not logged once")
				}
				if err := a.stop(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestATopicThatLostItsLastRecordGetsItBackThoughNothingFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		a.mustPut("n/1", 1)
		a.mustPut("n/2", 2)
		log.SetDown(true)
		synctest.Wait()
		log.Rewrite(1)
		log.SetDown(false)
		elapse(30 * time.Second)
		wantLast(t, log, "n/2", "2")
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// What the broker confirmed and lost before anybody read it leaves no trace in the log: its writer has to be told.
func TestWritesThatWereConfirmedAndLostBeforeTheyWereReadAreRefused(t *testing.T) {
	cases := map[string]struct {
		during func(log *logtest.Log) // once the write is confirmed
		want   error
		within time.Duration
	}{
		"the log ends before them": {
			func(log *logtest.Log) { log.Truncate(2) }, keyedlog.ErrLogLost, 7 * time.Second,
		},
		"the log ends before them and its broker is away for a while": {
			func(log *logtest.Log) {
				log.SetDown(true)
				log.Truncate(2)
				elapse(30 * time.Second)
				log.SetDown(false)
			}, keyedlog.ErrLogLost, 37 * time.Second,
		},
		"they come late": {
			func(*logtest.Log) { elapse(time.Minute) }, nil, time.Minute,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := logtest.New()
				a := newNode(t, log, nil).start()
				a.mustPut("n/1", 1)
				a.mustPut("n/2", 2)
				log.SetMute(true)
				begun, done := time.Now(), make(chan error, 1)
				go func() {
					done <- a.Append(t.Context(), keyedlog.Record{Key: "n/1", Value: []byte("3")})
				}()
				synctest.Wait()
				tc.during(log)
				log.SetMute(false)
				synctest.Wait()
				elapse(tc.within - time.Since(begun))
				synctest.Wait()
				select {
				case err := <-done:
					if !errors.Is(err, tc.want) {
						t.Errorf("the write ends with %v, want %v", err, tc.want)
					}
				default:
					t.Errorf("the write still waits after %v", tc.within)
				}
				a.mustPut("n/1", 3) // its writer retries
				a.want("n/1", 3)
				if err := a.stop(); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestATopicThatVanishedIsRecreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gone, made := logtest.New(), logtest.New()
		opened := 0
		a := newNode(t, gone, func(o *keyedlog.Options) {
			o.Open = func(context.Context) (keyedlog.Log, error) {
				if opened++; opened == 1 {
					return gone, nil
				}
				return made, nil
			}
		}).start()
		a.mustPut("n/1", 1)
		a.mustPut("n/2", 2)
		gone.Break(&rmq.BrokerError{Op: "pull", Code: 17})
		elapse(10 * time.Second)
		wantLast(t, made, "n/1", "1")
		wantLast(t, made, "n/2", "2")
		a.mustPut("n/1", 3)
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRecoveredValuesArePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		inject(t, log, "n/1", "4")
		a := newNode(t, log, nil)
		fold := highest{"n/1": 0}
		b := newNode(t, log, func(o *keyedlog.Options) {
			o.Fold = fold
			o.Recover = func(end int64) ([]string, int64) {
				if end != 1 {
					t.Errorf("the log was said to end at %d, want 1", end)
				}
				fold["n/2"] = 8
				return []string{"n/2"}, 50
			}
		}).start()
		reach := func() (out int64) { b.Snapshot(func(_, r int64) { out = r }); return out }
		if got := reach(); got != 50 {
			t.Errorf("reach is %d before the values are back, want 50", got)
		}
		elapse(5 * time.Second)
		if got := reach(); got != 2 {
			t.Errorf("reach is %d after the values are back, want 2", got)
		}
		a.start()
		a.want("n/1", 4)
		a.want("n/2", 8)
		if err := errors.Join(a.stop(), b.stop()); err != nil {
			t.Fatal(err)
		}
	})
}
