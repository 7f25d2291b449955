package rmq_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// Invariant P4: a topic that is deleted and created again under a reader is read from its first record on, also when it
// has grown past where the reader was by the time that a pull is answered.
func TestReaderOfATopicThatIsCreatedAgain(t *testing.T) {
	const read = 6
	cases := map[string]func(t *testing.T, b *rmqtest.Broker, l *rmq.Log){
		"while a pull is held": func(t *testing.T, b *rmqtest.Broker, l *rmq.Log) {
			b.Renew("log", "broker-a")
			appendAll(t, l, 100, 110)
		},
		"while a pull is held, and is as long as before for a while": func(t *testing.T, b *rmqtest.Broker, l *rmq.Log) {
			b.Renew("log", "broker-a")
			appendAll(t, l, 100, 100+read)
			time.Sleep(40 * time.Second)
			appendAll(t, l, 100+read, 110)
		},
		"and is not there for a while": func(t *testing.T, b *rmqtest.Broker, l *rmq.Log) {
			b.Forget("log", "broker-a")
			time.Sleep(20 * time.Second)
			b.Create("log", 1)
			appendAll(t, l, 100, 110)
		},
	}
	for name, renew := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				h := rewound{c: c}
				var l *rmq.Log
				l, h.q = logOf(t, c)
				h.open(0)
				appendAll(t, l, 0, read)
				h.poll(t, read-1)
				time.Sleep(5 * time.Second)
				renew(t, b, l)
				if diff := cmp.Diff(numbered(100, 110), h.poll(t, 109)); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([][2]int64{{read, 0}}, h.seen()); diff != "" {
					t.Errorf("gaps (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// A reader whose user takes nothing has no room to pull, and so no failed pull tells it that the topic was away.
func TestReaderWithoutRoomOfATopicThatIsCreatedAgain(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		const first, again = 2000, 3000
		h := rewound{c: c}
		var l *rmq.Log
		l, h.q = logOf(t, c)
		for i := 0; i < first; i += 500 {
			appendAll(t, l, i, i+500)
		}
		h.open(0)
		time.Sleep(time.Minute) // as much is pulled ahead as there is room for
		b.Forget("log", "broker-a")
		time.Sleep(time.Minute)
		b.Create("log", 1)
		for i := 0; i < again; i += 500 {
			appendAll(t, l, 10_000+i, 10_000+i+500)
		}
		got := h.poll(t, 10_000+again-1)
		for len(got) > 0 && len(got[0]) < 5 { // what had been pulled of the former topic
			got = got[1:]
		}
		if diff := cmp.Diff(numbered(10_000, 10_000+again), got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}
