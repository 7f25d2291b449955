package watch

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// system is a Kafka in this process with a hub on it, and a client that writes.
type system struct {
	*kfake.Cluster
	hub     *Hub
	writer  *kgo.Client
	waiting service.Group
}

func newSystem(t *testing.T, brokers int, committed bool) *system {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(brokers), kfake.SeedTopics(3, "orders"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	s := &system{Cluster: cluster, writer: newClient(t, cluster)}
	t.Cleanup(s.writer.Close)
	pool := &Pool{}
	if s.hub, err = pool.Get("k", func() (Link, error) {
		client := newClient(t, cluster, Options()...)
		return Link{Client: client, Committed: committed, Close: client.Close}, nil
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.waiting.Wait(); pool.Put(s.hub) })
	return s
}

func newClient(t *testing.T, cluster *kfake.Cluster, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.DisableClientMetrics(), kgo.MetadataMinAge(10 * time.Millisecond), kgo.ProducerLinger(0), kgo.RequestRetries(2)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func at(number int32) Partition { return Partition{"orders", number} }

func (s *system) produce(t *testing.T, number int32) {
	t.Helper()
	if err := s.writer.ProduceSync(limited(t), &kgo.Record{Topic: "orders", Partition: number, Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// wait waits at the side.
func (s *system) wait(ctx context.Context, from map[Partition]int64) <-chan map[Partition]int64 {
	out := make(chan map[Partition]int64, 1)
	s.waiting.Go(func() { out <- s.hub.Wait(ctx, from) })
	return out
}

func wantNews(t *testing.T, got <-chan map[Partition]int64, p Partition, offset int64) {
	t.Helper()
	select {
	case offsets := <-got:
		if offsets[p] != offset {
			t.Errorf("woken at %v, want %d of %v", offsets, offset, p)
		}
	case <-limited(t).Done():
		t.Fatal("nobody was woken")
	}
}

func wantQuiet(t *testing.T, got <-chan map[Partition]int64) {
	t.Helper()
	select {
	case offsets := <-got:
		t.Errorf("woken too early: %v", offsets)
	default:
	}
}

func TestWaitTells(t *testing.T) {
	cases := map[string]struct {
		before  int   // records of partition 1
		from    int64 // of partition 1
		produce bool
	}{
		"of a record that is there":        {before: 1, from: 0},
		"of a record that comes":           {before: 2, from: 2, produce: true},
		"that an offset cannot be read":    {before: 1, from: 7},
		"of the rest of what is there":     {before: 3, from: 1},
		"of the first record of all":       {from: 0, produce: true},
		"of a record that comes thereupon": {before: 1, from: 1, produce: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newSystem(t, 2, true)
			for range tc.before {
				s.produce(t, 1)
			}
			got := s.wait(limited(t), map[Partition]int64{at(0): 0, at(1): tc.from})
			if tc.produce {
				wantQuiet(t, got)
				s.produce(t, 1)
			}
			wantNews(t, got, at(1), tc.from)
		})
	}
}

func TestWaitTellsOnlyThoseWhomItConcerns(t *testing.T) {
	s := newSystem(t, 1, true)
	s.produce(t, 0)
	other := s.wait(limited(t), map[Partition]int64{at(2): 0})
	later := s.wait(limited(t), map[Partition]int64{at(0): 1})
	wantNews(t, s.wait(limited(t), map[Partition]int64{at(0): 0}), at(0), 0)
	wantQuiet(t, later)
	s.produce(t, 0)
	wantNews(t, later, at(0), 1)
	wantQuiet(t, other)
	s.produce(t, 2)
	wantNews(t, other, at(2), 0)
}

func TestWaitEndsWithItsContext(t *testing.T) {
	s := newSystem(t, 1, true)
	ctx, cancel := context.WithCancel(context.Background())
	got := s.wait(ctx, map[Partition]int64{at(0): 0})
	cancel()
	wantNews(t, got, at(0), 0)
}

func TestWaitPassesWhatIsNoRecordForUsers(t *testing.T) {
	s := newSystem(t, 1, true)
	writer := newClient(t, s.Cluster, kgo.TransactionalID("tx"))
	defer writer.Close()
	for _, commit := range []kgo.TransactionEndTry{kgo.TryCommit, kgo.TryAbort} {
		s.transact(t, writer, commit)
	}
	// 0: a record, 1: the mark of its commit, 2: an aborted record, 3: the mark of that.
	got := s.wait(limited(t), map[Partition]int64{at(0): 1})
	other := s.wait(limited(t), map[Partition]int64{at(0): 0})
	wantNews(t, other, at(0), 0)
	wantQuiet(t, got)
	ended, cancel := context.WithCancel(limited(t))
	for moved := false; !moved; {
		s.hub.mu.Lock()
		spot := s.hub.spots[at(0)]
		moved = spot != nil && spot.from(at(0)) == 4
		s.hub.mu.Unlock()
		if ended.Err() != nil {
			t.Fatal("the offset is not moved past the marks")
		}
	}
	cancel()
	wantQuiet(t, got)
	s.produce(t, 0)
	wantNews(t, got, at(0), 4)
}

// transact writes a record to partition 0 in a transaction: the mark of its end takes an offset of its own.
func (s *system) transact(t *testing.T, writer *kgo.Client, commit kgo.TransactionEndTry) {
	t.Helper()
	if err := writer.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	if err := writer.ProduceSync(limited(t), &kgo.Record{Topic: "orders", Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if err := writer.EndTransaction(limited(t), commit); err != nil {
		t.Fatal(err)
	}
}

// Somebody who came to wait while an answer was on its way may wait below what was asked for.
func TestAnAnswerMovesOnlyThoseForWhomItWasAsked(t *testing.T) {
	s := newSystem(t, 1, true)
	writer := newClient(t, s.Cluster, kgo.TransactionalID("tx"))
	defer writer.Close()
	s.transact(t, writer, kgo.TryCommit) // 0: a record, 1: the mark of its commit
	f := &fetcher{h: &Hub{link: s.hub.link, spots: map[Partition]*spot{}}, broker: s.LeaderFor("orders", 0)}
	asked := map[Partition]int64{at(0): 1}
	answer, err := f.h.link.Client.Broker(int(f.broker)).Request(limited(t), f.request(asked))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct{ from, want int64 }{
		"who waits where it was asked":      {from: 1, want: 2},
		"who came meanwhile, below that":    {from: 0, want: 0},
		"who waits for what is yet to come": {from: 5, want: 5},
	}
	f.h.spots[at(0)] = &spot{leader: f.broker, waiters: map[*waiter]struct{}{}}
	waiters := map[string]*waiter{}
	for name, tc := range cases {
		w := &waiter{from: map[Partition]int64{at(0): tc.from}, news: make(chan struct{}, 1)}
		waiters[name], f.h.spots[at(0)].waiters[w] = w, struct{}{}
	}
	f.take(asked, answer.(*kmsg.FetchResponse))
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := waiters[name].from[at(0)]; got != tc.want || len(waiters[name].news) > 0 {
				t.Errorf("at %d, want %d; woken %d times", got, tc.want, len(waiters[name].news))
			}
		})
	}
}

func TestWaitFollowsALeader(t *testing.T) {
	s := newSystem(t, 2, true)
	got := s.wait(limited(t), map[Partition]int64{at(0): 0, at(1): 0, at(2): 0})
	for p := range int32(3) {
		to := 1 - s.LeaderFor("orders", p)
		if err := s.MoveTopicPartition("orders", p, to); err != nil {
			t.Fatal(err)
		}
	}
	wantQuiet(t, got)
	s.produce(t, 1)
	wantNews(t, got, at(1), 0)
}

func TestTopicsAreAskedForOnce(t *testing.T) {
	s := newSystem(t, 1, true)
	first, err := s.hub.Topics(limited(t), []string{"orders"}, time.Hour)
	if err != nil || len(first["orders"].Partitions) != 3 {
		t.Fatalf("%v: %v", first, err)
	}
	s.Close()
	if again, err := s.hub.Topics(limited(t), []string{"orders"}, time.Hour); err != nil || len(again) != 1 {
		t.Errorf("within the age: %v: %v", again, err)
	}
	for ctx := limited(t); err == nil && ctx.Err() == nil; {
		_, err = s.hub.Topics(ctx, []string{"orders"}, 0)
	}
	if err == nil {
		t.Error("older than the age: no error though nobody can be asked")
	}
}

func TestPoolSharesAHubUntilTheLastUserPutsItBack(t *testing.T) {
	s := newSystem(t, 1, false)
	pool, opened, closed := &Pool{}, 0, 0
	open := func() (Link, error) {
		opened++
		client := newClient(t, s.Cluster)
		return Link{Client: client, Close: func() { closed++; client.Close() }}, nil
	}
	var hubs []*Hub
	for _, key := range []string{"a", "a", "b"} {
		h, err := pool.Get(key, open)
		if err != nil {
			t.Fatal(err)
		}
		hubs = append(hubs, h)
	}
	if hubs[0] != hubs[1] || hubs[0] == hubs[2] || opened != 2 {
		t.Errorf("%d opened for two keys", opened)
	}
	for i, want := range []int{0, 1, 2} {
		if pool.Put(hubs[i]); closed != want {
			t.Errorf("%d closed after %d were given back", closed, i+1)
		}
	}
	if len(pool.hubs) != 0 {
		t.Error("the pool keeps closed hubs")
	}
}
