package rmqsuite

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// RunMembers has two clients join a group by heartbeats, and one leave by closing its connection.
func RunMembers(t *testing.T, c *rmq.Client, dial remoting.Dialer, sign remoting.Credentials) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	e := &env{T: t, client: c, ctx: ctx, suffix: fmt.Sprintf("-%08x", rand.Uint32())}
	brokers, err := c.Brokers(ctx)
	e.ok(err)
	group := e.name("group")
	join := func(id string) *remoting.Pool {
		pool := remoting.NewPool(dial, time.Second, sign)
		body := fmt.Appendf(nil, `{"clientID":%q,"producerDataSet":[],"consumerDataSet":[{"groupName":%q,"consumeType":"CONSUME_PASSIVELY",`+
			`"messageModel":"CLUSTERING","consumeFromWhere":"CONSUME_FROM_LAST_OFFSET","subscriptionDataSet":[],"unitMode":false}]}`, id, group)
		resp, err := pool.Call(ctx, brokers[0].Addr, "member", &remoting.Command{Code: remoting.Heartbeat, Body: body})
		e.ok(err)
		if resp.Code != remoting.Success {
			t.Fatalf("heartbeat: %d %s", resp.Code, resp.Remark)
		}
		return pool
	}
	want := func(ids ...string) {
		t.Helper()
		var got []string
		e.eventually("members", func() bool {
			got, err = c.Members(ctx, group)
			e.ok(err)
			return cmp.Equal(ids, got)
		})
	}
	b, a := join("worker-b"), join("worker-a")
	want("worker-a", "worker-b")
	b.Close()
	want("worker-a")
	a.Close()
}
