package rmq_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// Each use of RocketMQ that is refused tells which permission on which resource is missing, and which broker says so.
func TestARefusalNamesThePermissionThatIsMissing(t *testing.T) {
	type use func(t *testing.T, c *rmq.Client, l *rmq.Log, q rmq.Queue) error
	cases := map[string]struct {
		use  use
		want string
	}{
		"creating a topic": {func(t *testing.T, c *rmq.Client, _ *rmq.Log, _ rmq.Queue) error {
			_, err := c.EnsureTopic(t.Context(), "new", rmq.TopicSpec{Queues: 1})
			return err
		}, "Create on Topic:new"},
		"asking for offsets": {func(t *testing.T, c *rmq.Client, _ *rmq.Log, q rmq.Queue) error {
			_, _, err := c.Offsets(t.Context(), q)
			return err
		}, "Get on Topic:log"},
		"appending to a log": {func(t *testing.T, _ *rmq.Client, l *rmq.Log, _ rmq.Queue) error {
			_, err := l.Append(t.Context(), rmq.Entry{Key: "a", Value: []byte("1")})
			return err
		}, "Pub on Topic:log"},
		"reading a log": {func(t *testing.T, _ *rmq.Client, l *rmq.Log, _ rmq.Queue) error {
			_, err := l.Read(t.Context(), 0, func(rmq.Entry) error { return nil })
			return err
		}, "Get on Topic:log"},
		"sending": {func(t *testing.T, c *rmq.Client, _ *rmq.Log, q rmq.Queue) error {
			s := c.NewSender(rmq.SenderConfig{})
			var refused error
			if err := s.Send(t.Context(), rmq.Message{Topic: q.Topic, Body: []byte("1")}, func(_ int64, err error) { refused = err }); err != nil {
				return err
			}
			return errors.Join(s.Flush(t.Context()), refused)
		}, "Pub on Topic:log"},
		"reading a queue": {func(t *testing.T, c *rmq.Client, _ *rmq.Log, q rmq.Queue) error {
			r := c.NewReader(rmq.ReaderConfig{Group: "g"})
			r.Assign(map[rmq.Queue]int64{q: 0})
			_, err := r.Poll(t.Context(), 1)
			return err
		}, "Sub on Topic:log"},
		"committing": {func(t *testing.T, c *rmq.Client, _ *rmq.Log, q rmq.Queue) error {
			return c.Commit(t.Context(), "g", map[rmq.Queue]int64{q: 0})
		}, "Sub on Topic:log"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{AccessKey: "connect", SecretKey: "hush"}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				l, q := logOf(t, c)
				b.Intercept(func(_ string, req *remoting.Command) rmqtest.Verdict {
					return rmqtest.Verdict{
						Refuse: remoting.NoPermission,
						Remark: "User:connect has no permission to access Topic:" + req.Field(
							"topic",
						) + req.Field(
							"b",
						) + " from 10.0.0.1, no matched policies.",
					}
				})
				err := tc.use(t, c, l, q)
				want := "on broker broker-a at broker-a:10911: accessKey needs the " +
					"permission " + tc.want + " from 10.0.0.1: no policy of its user allows that"
				if !errors.Is(err, rmq.ErrAccessDenied) || rmq.IsTemporary(err) || !strings.Contains(err.Error(), want) {
					t.Errorf("got  %v\nwant %s", err, want)
				}
				if err != nil && strings.Contains(err.Error(), "User:connect") {
					t.Errorf("it shows the access key: %v", err)
				}
			})
		})
	}
}
