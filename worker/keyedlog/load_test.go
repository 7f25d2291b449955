package keyedlog_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/keyedlog/logtest"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// meeting is a log whose first read waits until as many others have begun.
type meeting struct {
	*logtest.Log
	begun *sync.WaitGroup
	reads int
	fail  error // of the first read
}

func (m *meeting) Read(ctx context.Context, from int64, fn func(rmq.Entry) error) (int64, error) {
	if m.reads++; m.reads == 1 {
		m.begun.Done()
		m.begun.Wait()
		if m.fail != nil {
			return from, m.fail
		}
	}
	return m.Log.Read(ctx, from, fn)
}

func TestTopicsAreReadSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var begun sync.WaitGroup
		var nodes []*node
		var tables []*keyedlog.Table
		for _, fail := range []error{nil, errors.New("the broker went away"), nil} {
			log := logtest.New()
			if _, err := log.Append(t.Context(), rmq.Entry{Key: "n/a", Value: []byte("7")}); err != nil {
				t.Fatal(err)
			}
			begun.Add(1)
			m := &meeting{Log: log, begun: &begun, fail: fail}
			n := newNode(t, log, func(o *keyedlog.Options) {
				o.Open = func(context.Context) (keyedlog.Log, error) { return m, nil }
			})
			nodes, tables = append(nodes, n), append(tables, n.Table)
		}
		keyedlog.Load(t.Context(), tables...)
		nodes[0].want("n/a", 7)
		nodes[1].want("n/a", 0)
		nodes[2].want("n/a", 7)
		for _, n := range nodes {
			n.start()
			n.want("n/a", 7)
			if err := n.stop(); err != nil {
				t.Error(err)
			}
		}
	})
}
