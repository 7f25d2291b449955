package rmq_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// What a message's sysFlag says of its body.
const (
	compressed = 1
	innerBatch = 1 << 7
)

// store stores a body with a flag that may not fit it.
func store(t *testing.T, b *rmqtest.Broker, c *rmq.Client, q rmq.Queue, flag int, body string) {
	t.Helper()
	ask(t, b, c, &remoting.Command{Code: remoting.SendMessageV2, Body: []byte(body), Fields: []remoting.Field{
		{Name: "b", Value: q.Topic}, {Name: "e", Value: strconv.Itoa(q.ID)}, {Name: "f", Value: strconv.Itoa(flag)},
		{Name: "g", Value: "0"}, {Name: "i", Value: ""}}})
}

func TestReaderReadsUpToWhatItCannotDecode(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		q := topic(t, c, 1)[0]
		store(t, b, c, q, 0, "0")
		store(t, b, c, q, compressed, "1")
		store(t, b, c, q, 0, "2")
		store(t, b, c, q, innerBatch, "3")
		store(t, b, c, q, 0, "4")
		r := c.NewReader(rmq.ReaderConfig{Group: "g"})
		defer r.Close()
		r.Assign(map[rmq.Queue]int64{q: 0})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var got []string
		for {
			records, err := r.Poll(ctx, 100)
			for i := range records {
				text := string(records[i].Body)
				if errors.Is(records[i].Err, remoting.ErrMessage) {
					text += " as it is stored"
				}
				got = append(got, text)
			}
			if err == nil && ctx.Err() == nil {
				continue
			}
			if !errors.Is(err, remoting.ErrMessage) {
				t.Errorf("reading ended with %v", err)
			}
			break
		}
		if diff := cmp.Diff([]string{"0", "1 as it is stored", "2"}, got); diff != "" {
			t.Errorf("read (-want +got):\n%s", diff)
		}
	})
}

func TestReaderShowsAQueueThatStandsStillBesideOnesThatDoNot(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 2)
		store(t, b, c, queues[0], innerBatch, "x")
		for range 100 {
			store(t, b, c, queues[1], 0, "x")
		}
		r := c.NewReader(rmq.ReaderConfig{Group: "g"})
		defer r.Close()
		r.Assign(map[rmq.Queue]int64{queues[0]: 0, queues[1]: 0})
		synctest.Wait()
		for range 10 {
			if _, err := r.Poll(t.Context(), 1); err != nil {
				if !errors.Is(err, remoting.ErrMessage) {
					t.Errorf("got %v", err)
				}
				return
			}
		}
		t.Error("10 polls told nothing of a queue that cannot be read")
	})
}

// A log's users fold all of its records: none of them is to be left out or taken as it is.
func TestLogEndsBeforeWhatCannotBeDecoded(t *testing.T) {
	for name, flag := range map[string]int{"a body": compressed, "a message": innerBatch} {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				l, q := logOf(t, c)
				appendAll(t, l, 0, 2)
				store(t, b, c, q, flag, "2")
				appendAll(t, l, 3, 5)
				var got []string
				next, err := l.Read(t.Context(), 0, func(e rmq.Entry) error { got = append(got, string(e.Value)); return nil })
				if next != 2 || !errors.Is(err, remoting.ErrMessage) {
					t.Errorf("stopped at %d with %v, want at 2", next, err)
				}
				if diff := cmp.Diff([]string{"0", "1"}, got); diff != "" {
					t.Errorf("read (-want +got):\n%s", diff)
				}
			})
		})
	}
}
