package store_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/testr"
	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/store"
)

// onBroker runs stores over the real client on a broker that speaks the protocol.
func onBroker(t *testing.T, broker *rmqtest.Broker, id string) *store.Stores {
	t.Helper()
	client, err := rmq.Open(rmq.Config{NameServers: []string{broker.NameServer()}, ClientID: id, Dial: broker.Dial})
	if err != nil {
		t.Fatal(err)
	}
	stores, err := store.Open(store.Options{
		ClusterID: "c1", Topics: store.Topics{Config: "config", Position: "position", Offset: "offset", Status: "status"},
		Dir: t.TempDir(), Log: testr.New(t),
	}, store.RocketMQ(client, ""))
	if err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	services := append(stores.Services(), service.Service{Name: "ready", Start: func(context.Context) error { close(ready); return nil }})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- service.Run(ctx, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 10*time.Second)
		}, services...)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	return stores
}

func TestStoresOverTheProtocol(t *testing.T) {
	broker := rmqtest.Start(t, rmqtest.OverPipe())
	one, two := onBroker(t, broker, "one"), onBroker(t, broker, "two")
	changed, stop := two.Configs().Watch()
	defer stop()
	want, err := one.Configs().Put(t.Context(), store.Write{Name: "a b/ü", Config: map[string]string{"k": "v"}})
	if err != nil {
		t.Fatal(err)
	}
	for got, ok := two.Configs().Get("a b/ü"); !ok; got, ok = two.Configs().Get("a b/ü") {
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("the other worker never saw it: %+v", got)
		}
	}
	if got, _ := two.Configs().Get("a b/ü"); !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
	writer, err := one.Positions().Fence(t.Context(), store.Fence{Connector: "a b/ü", Generation: 1, Epoch: 1, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	positions := record.Positions{"p/0": "1", "\xff": "\x00"}
	if err := writer.Write(t.Context(), positions); err != nil {
		t.Fatal(err)
	}
	three := onBroker(t, broker, "three")
	if diff := cmp.Diff(positions, three.Positions().Read("a b/ü")); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(one.Configs().All(), three.Configs().All()); diff != "" {
		t.Error(diff)
	}
}

func TestSyncShowsWhatAnotherWorkerHasStored(t *testing.T) {
	broker := rmqtest.Start(t, rmqtest.OverPipe())
	one, two := onBroker(t, broker, "one"), onBroker(t, broker, "two")
	for revision := int64(1); revision <= 20; revision++ {
		want, err := one.Configs().Put(t.Context(), store.Write{Name: "c", Config: map[string]string{"k": "v"}, IfRevision: revision - 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := two.Configs().Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got, _ := two.Configs().Get("c"); !cmp.Equal(got, want) {
			t.Fatal(cmp.Diff(want, got))
		}
	}
}

// Invariant C4: the new topic has grown past what the workers had read before their long polls see anything of it.
func TestATopicThatWasRecreatedUnnoticedGetsBackWhatWorkersHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := rmqtest.Start(t, rmqtest.OverPipe())
		one, two := onBroker(t, broker, "one"), onBroker(t, broker, "two")
		kept, err := one.Configs().Put(t.Context(), store.Write{Name: "kept", Config: map[string]string{"k": "v"}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		broker.Renew("config", "broker-a")
		for i := range 5 {
			if _, err := one.Configs().Put(t.Context(), store.Write{Name: fmt.Sprintf("c%d", i), Config: map[string]string{"k": "v"}}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		time.Sleep(time.Minute)
		for name, stores := range map[string]*store.Stores{"one": one, "two": two, "a newcomer": onBroker(t, broker, "three")} {
			if n := len(stores.Configs().All()); n != 6 {
				t.Errorf("%s holds %d configs, want 6", name, n)
			}
			if got, _ := stores.Configs().Get("kept"); !cmp.Equal(got, kept) {
				t.Errorf("%s lost what was there before:\n%s", name, cmp.Diff(kept, got))
			}
		}
	})
}

func TestConfigsOutliveTheRetentionOfOlderBrokers(t *testing.T) {
	cases := map[string]struct {
		options []rmqtest.Option
		compact bool
		want    int64 // records in the topic after a third of the broker's 6 h
	}{
		"a topic that an earlier version made compacting keeps the record": {compact: true, want: 1},
		"to one that does not, it is published again":                      {want: 2},
		"also on brokers before 5.0":                                       {options: []rmqtest.Option{rmqtest.Line4()}, want: 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				broker := rmqtest.Start(t, append(tc.options, rmqtest.OverPipe())...)
				if tc.compact {
					if err := rmqtest.CreateCompacting(t.Context(), broker.Dial, "broker-a:10911", "config", 6); err != nil {
						t.Fatal(err)
					}
				}
				stores := onBroker(t, broker, "one")
				want, err := stores.Configs().Put(t.Context(), store.Write{Name: "c", Config: map[string]string{"k": "v"}})
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(2*time.Hour + 10*time.Minute)
				broker.Trim("config", "broker-a", 0, tc.want-1)
				again := onBroker(t, broker, "two")
				if diff := cmp.Diff([]store.Connector{want}, again.Configs().All()); diff != "" {
					t.Errorf("what is read after what is older has aged out (-want +got):\n%s", diff)
				}
				if end := configEnd(t, broker); end != tc.want {
					t.Errorf("%d records were stored, want %d", end, tc.want)
				}
			})
		})
	}
}

// configEnd is how many records the config topic ever had.
func configEnd(t *testing.T, broker *rmqtest.Broker) int64 {
	t.Helper()
	client, err := rmq.Open(rmq.Config{NameServers: []string{broker.NameServer()}, Dial: broker.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	_, end, err := client.Offsets(t.Context(), rmq.Queue{Topic: "config", Broker: "broker-a"})
	if err != nil {
		t.Fatal(err)
	}
	return end
}
