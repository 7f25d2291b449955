package queues

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

func TestFewPartitionsUseAllBrokers(t *testing.T) {
	topic := concat(of("a", 8), of("b", 8))
	cases := map[string]struct {
		order Order
		want  map[string]int
	}{
		"in the order of ids each broker gets half":           {ByID, map[string]int{"a": 4, "b": 4}},
		"in the older order the first broker gets everything": {ByBroker, map[string]int{"a": 8}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, b := map[string]int{}, Bind(tc.order, topic)
			for partition := range 8 {
				got[b.Queue(partition).Broker]++
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("partitions by broker (-want +got):\n%s", diff)
			}
		})
	}
}

func TestStoredForm(t *testing.T) {
	cases := map[string]struct {
		binding Binding
		want    string
	}{
		"one broker":  {Bind(ByID, of("broker-a", 4)), "id broker-a/0-3"},
		"two brokers": {Bind(ByBroker, concat(of("b", 1), of("a", 2))), "broker a/0-1,b/0-0"},
		"a topic that grew": {
			grown(Bind(ByID, concat(of("a", 2), of("b", 2))), concat(of("a", 4), of("c", 2))),
			"id a/0-1,b/0-1 a/2-3,c/0-1",
		},
		"ids that do not hang together": {Bind(ByID, concat(of("a", 4)[:1], of("a", 4)[2:])), "id a/0-0,a/2-3"},
		"no queue":                      {Bind(ByID, nil), "id"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.binding.String()); diff != "" {
				t.Errorf("stored (-want +got):\n%s", diff)
			}
			again, err := ParseBinding("t", tc.binding.String())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.binding.row, again.row); diff != "" {
				t.Errorf("the row that was read back (-want +got):\n%s", diff)
			}
		})
	}
}

func grown(b Binding, queues []rmq.Queue) Binding {
	b, _ = b.Grown(queues)
	return b
}

func TestDamagedBindingsAreRefused(t *testing.T) {
	for _, text := range []string{"", "name a/0-1", "id a", "id a/0", "id a/x-1", "id /0-1", "id a/3-1", "id a/-1-3",
		"id a/0-99999999999", "id a/0-65534,b/0-65534"} {
		if b, err := ParseBinding("t", text); err == nil {
			t.Errorf("%q was read as %s", text, b)
		}
	}
}

// FuzzBinding grows a row as brokers and queues come, away or not, and holds it to the obvious twin: a list to the end
// of which everything new is put.
func FuzzBinding(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed, seed%2 == 0)
	}
	f.Fuzz(func(t *testing.T, seed uint64, byBrokers bool) {
		rng, order := rand.New(rand.NewPCG(seed, 4)), ByID
		if byBrokers {
			order = ByBroker
		}
		b := Bind(order, nil)
		for range 1 + rng.IntN(8) {
			var topic []rmq.Queue
			for i := range 1 + rng.IntN(4) {
				if rng.IntN(3) > 0 {
					topic = append(topic, of(fmt.Sprint("broker-", i), rng.IntN(9))...)
				}
			}
			before := b
			b, _ = b.Grown(topic)
			if diff := cmp.Diff(before.row, b.row[:before.Len()], cmpopts.EquateEmpty()); diff != "" {
				t.Fatalf("what was in the row moved (-before +after):\n%s", diff)
			}
			for _, q := range topic {
				if n := strings.Count(fmt.Sprint(b.row), q.String()+" ") + strings.Count(fmt.Sprint(b.row), q.String()+"]"); n != 1 {
					t.Fatalf("%s is %d times in the row %v", q, n, b.row)
				}
			}
			again, err := ParseBinding("t", b.String())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(b.row, again.row, cmpopts.EquateEmpty()); diff != "" || again.Order() != order {
				t.Fatalf("%q was read back in order %s as (-want +got):\n%s", b, again.Order(), diff)
			}
		}
	})
}

func TestKeyChoiceStays(t *testing.T) {
	for key, want := range map[string]int{"": 7347990519673328018, "a": 6319093600277820998} {
		if got := KeyChoice([]byte(key)); got != want {
			t.Errorf("key %q chooses %d, want %d", key, got, want)
		}
	}
}
