package keyedlog_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/keyedlog/logtest"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

var errFull = &rmq.BrokerError{Op: "sending", Addr: "10.0.0.1:10911", Broker: "broker-a", Code: 14, Remark: "disk full"}

// wantTrouble looks at what the table says at the bubble's time; no error is no trouble.
func (n *node) wantTrouble(since time.Time, want error) {
	n.t.Helper()
	got, ok := n.Trouble()
	switch {
	case want == nil && ok:
		n.t.Errorf("at %v: trouble %+v, want none", time.Now(), got)
	case want != nil && (!errors.Is(got.Err, want) || !got.Since.Equal(since)):
		n.t.Errorf("at %v: trouble %+v, want %v since %v", time.Now(), got, want, since)
	}
}

func TestTroubleLastsAsLongAsItsCause(t *testing.T) {
	cases := map[string]struct {
		begin, end func(*logtest.Log)
		want       error
	}{
		"the broker takes nothing": {
			begin: func(l *logtest.Log) { l.Break(fmt.Errorf("appending: %w", errFull)) },
			end:   func(l *logtest.Log) { l.Break(nil) },
			want:  errFull,
		},
		"what was stored does not come back": {
			begin: func(l *logtest.Log) { l.SetMute(true) },
			end:   func(l *logtest.Log) { l.SetMute(false) },
			want:  keyedlog.ErrNotReadBack,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := logtest.New()
				a := newNode(t, log, nil).start()
				a.mustPut("n/1", 1)
				a.wantTrouble(time.Time{}, nil)
				tc.begin(log)
				since := time.Now()
				done := make(chan error)
				go func() { done <- a.Append(t.Context(), keyedlog.Record{Key: "n/1", Value: []byte("2")}) }()
				elapse(3 * time.Second)
				a.wantTrouble(since, tc.want)
				elapse(time.Minute)
				a.wantTrouble(since, tc.want)
				tc.end(log)
				if err := <-done; err != nil {
					t.Error(err)
				}
				elapse(15 * time.Second)
				a.wantTrouble(time.Time{}, nil)
				if err := a.stop(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestATroubleThatNobodyWaitsForIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		a := newNode(t, log, nil).start()
		log.FailAppends(1000, false)
		since := time.Now()
		if err := a.put("n/1", 1); err == nil {
			t.Error("the append worked")
		}
		elapse(time.Second)
		got, ok := a.Trouble()
		if !ok || !got.Since.Equal(since) {
			t.Errorf("trouble %+v %t, want one since %v", got, ok, since)
		}
		elapse(15 * time.Second)
		a.wantTrouble(time.Time{}, nil)
		if err := a.stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestTroubleOfATopicThatCannotBeReadYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := logtest.New()
		log.SetDown(true)
		since := time.Now()
		a := newNode(t, log, nil).start()
		elapse(time.Minute)
		a.wantTrouble(since, rmq.ErrUnreachable)
		log.SetDown(false)
		elapse(10 * time.Second)
		a.wantTrouble(time.Time{}, nil)
		if err := a.stop(); err != nil {
			t.Error(err)
		}
	})
}
