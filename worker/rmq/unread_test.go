package rmq_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

func TestALogTellsWhyItCannotBeReadOn(t *testing.T) {
	cases := map[string]struct {
		lose func(*rmqtest.Broker)
		want string
	}{
		"its broker is down": {func(b *rmqtest.Broker) { b.StopMaster("broker-a") }, "broker broker-a at "},
		"only its slave is left": {
			func(b *rmqtest.Broker) { b.LeaveSlave("broker-a") },
			"broker broker-a unreachable: its master is not registered with the name server, only a slave is",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				l, _ := logOf(t, c)
				ctx, cancel := context.WithCancel(t.Context())
				ended := make(chan error)
				go func() { ended <- l.Follow(ctx, 0, 0, func(rmq.Entry) error { return nil }) }()
				for range 2 {
					time.Sleep(time.Minute)
					if got, ok := l.Unread(); ok {
						t.Errorf("trouble %+v while all is well", got)
					}
					tc.lose(b)
					since := time.Now()
					time.Sleep(time.Minute)
					got, ok := l.Unread()
					if !ok || !errors.Is(got.Err, rmq.ErrUnreachable) || !strings.Contains(got.Err.Error(), tc.want) ||
						got.Since.Sub(since) > time.Second {
						t.Errorf("trouble %+v %t, want %q since %v", got, ok, tc.want, since)
					}
					if err := b.RestartMaster("broker-a"); err != nil {
						t.Fatal(err)
					}
					time.Sleep(2 * time.Second) // far less than a poll is held
					if got, ok := l.Unread(); ok {
						t.Errorf("trouble %+v after the broker is back", got)
					}
				}
				cancel()
				<-ended
			})
		})
	}
}

func TestNoAnswerHoldsTheAccessKey(t *testing.T) {
	bubble(t, rmq.Config{AccessKey: "theKey", SecretKey: "wrong"}, func(t *testing.T, _ *rmqtest.Broker, c *rmq.Client) {
		_, err := c.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{})
		if !errors.Is(err, rmq.ErrAccessDenied) || strings.Contains(err.Error(), "theKey") {
			t.Errorf("got %v, want that access is denied, without the key", err)
		}
	}, rmqtest.WithCredentials("theKey", "right"), rmqtest.Line4())
}
