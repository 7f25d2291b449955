package keyedlog_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/keyedlog/logtest"
)

func TestNothingAgesOut(t *testing.T) {
	cases := map[string]struct {
		first       func(*keyedlog.Options)
		least, most int // records of each key in 6 h
	}{
		"with an owner and a follower": {least: 15, most: 20},
		"with followers only":          {first: never, least: 10, most: 26},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := logtest.New()
				log.SetRetention(time.Hour)
				a, b := newNode(t, log, tc.first).start(), newNode(t, log, never).start()
				a.mustPut("n/1", 1)
				a.mustPut("n/1", 2)
				a.mustPut("n/2", 7)
				appended := func() (n int) {
					for _, size := range log.Batches() {
						n += size
					}
					return n
				}
				for range 36 {
					elapse(10 * time.Minute)
					log.Expire()
				}
				if n := appended() / 2; n < tc.least || n > tc.most {
					t.Errorf("each key was published %d times in 6 h, want %d to %d", n, tc.least, tc.most)
				}
				c := newNode(t, log, never).start()
				c.want("n/1", 2)
				c.want("n/2", 7)
				if err := errors.Join(a.stop(), b.stop(), c.stop()); err != nil {
					t.Fatal(err)
				}
			})
		})
	}
}

func TestACompactedTopicIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		a.mustPut("n/1", 1)
		elapse(24 * time.Hour)
		if n := len(log.Entries()); n != 1 {
			t.Errorf("%d records, want the one that was put", n)
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

// A compacting topic that was deleted is recreated as one whose records age out.
func TestATopicThatIsNotCompactingAnyMoreIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		a.mustPut("n/1", 1)
		elapse(10 * time.Minute)
		log.SetRetention(time.Hour)
		elapse(50 * time.Minute)
		if n := len(log.Entries()); n < 2 {
			t.Errorf("%d records, want the value published again before it ages out", n)
		}
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestWhatAgedOutUnnoticedComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		log.SetRetention(time.Hour)
		a := newNode(t, log, nil).start()
		for i := range 3 {
			a.mustPut(fmt.Sprintf("n/%d", i), i+1)
		}
		log.AgeOut(2) // a full disk makes brokers drop records before their time
		elapse(2 * time.Minute)
		b := newNode(t, log, never).start()
		b.want("n/0", 1)
		b.want("n/1", 2)
		b.want("n/2", 3)
		if err := errors.Join(a.stop(), b.stop()); err != nil {
			t.Fatal(err)
		}
	})
}

func TestRetentionIsAskedUntilItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		log.SetRetention(time.Hour)
		a := newNode(t, log, nil).start()
		a.mustPut("n/1", 1)
		elapse(10 * time.Minute)
		log.SetDown(true)
		elapse(5 * time.Minute)
		if a.logs.count("how long the topic keeps its records") == 0 {
			t.Error("nobody was told")
		}
		log.SetDown(false)
		elapse(30 * time.Minute)
		log.Expire()
		elapse(20 * time.Minute)
		log.Expire()
		wantLast(t, log, "n/1", "1")
		if err := a.stop(); err != nil {
			t.Fatal(err)
		}
	})
}
