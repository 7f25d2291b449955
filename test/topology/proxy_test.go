//go:build topology

package topology

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// A proxy lists no brokers, so nothing is created through it, and the error says so. What is there beforehand is read
// and written.
func TestAProxyServesWhatIsThere(t *testing.T) {
	direct := newRig(t, "proxy", nameServers())
	proxied := newRig(t, "proxy", os.Getenv("RMQ_PROXY"))
	proxied.suffix = direct.suffix
	logTopic, topic, group := "proxy-log"+direct.suffix, "proxy"+direct.suffix, "proxy-group"+direct.suffix
	if _, err := proxied.c.EnsureLogTopic(t.Context(), logTopic, rmq.LogPlace{}); !errors.Is(err, rmq.ErrNoListing) {
		t.Errorf("creating a log through the proxy: %v", err)
	} else {
		t.Log(err)
	}
	if _, err := direct.c.EnsureLogTopic(t.Context(), logTopic, rmq.LogPlace{}); err != nil {
		t.Fatal(err)
	}
	if _, err := direct.c.EnsureTopic(t.Context(), topic, rmq.TopicSpec{Queues: 1}); err != nil {
		t.Fatal(err)
	}
	if err := direct.c.EnsureGroup(t.Context(), group); err != nil { // offsets of a group that is not there are refused
		t.Fatal(err)
	}
	var q rmq.Queue
	eventually(t, func(ctx context.Context) (err error) { // proxies remember for a while what is not there
		q, err = proxied.c.EnsureLogTopic(ctx, logTopic, rmq.LogPlace{})
		return err
	})
	l := proxied.c.Log(q)
	for range 3 {
		if _, err := l.Append(t.Context(), rmq.Entry{Key: "k", Value: []byte("v")}); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	if _, err := l.Read(t.Context(), 0, func(rmq.Entry) error { n++; return nil }); err != nil || n != 3 {
		t.Errorf("read %d entries, %v", n, err)
	}
	kept, err := l.Retention(t.Context())
	t.Logf("the log's retention through the proxy: %s, %v", kept, err)
	if _, ok, err := proxied.c.Settings(t.Context(), q); ok || err != nil {
		t.Errorf("the broker's settings through the proxy: %v, %v", ok, err)
	}
	var queues []rmq.Queue
	eventually(t, func(ctx context.Context) (err error) {
		queues, err = proxied.c.Route(ctx, topic)
		return err
	})
	p := proxied.pump(topic, queues[0])
	p.awaitRead(50)
	p.stop()
	if copies := proxied.copies(queues[0]); len(copies) < 50 {
		t.Errorf("%d records stored", len(copies))
	}
	if err := proxied.c.Commit(t.Context(), group, map[rmq.Queue]int64{queues[0]: 7}); err != nil {
		t.Errorf("committing an offset: %v", err)
	}
	if offset, ok, err := proxied.c.Committed(t.Context(), group, queues[0]); err != nil || !ok || offset != 7 {
		t.Errorf("the committed offset: %d, %v, %v", offset, ok, err)
	}
	if _, err := proxied.c.OffsetAt(t.Context(), queues[0], time.Now().Add(-time.Hour)); err != nil {
		t.Errorf("searching by time: %v", err)
	}
	t.Logf("a group through the proxy: %v", proxied.c.EnsureGroup(t.Context(), group))
	_, err = proxied.c.Members(t.Context(), group)
	t.Logf("members of a group through the proxy: %v", err)
}
