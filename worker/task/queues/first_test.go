package queues

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

func TestEndAt(t *testing.T) {
	a0, b0 := rmq.Queue{Topic: "t", Broker: "a"}, rmq.Queue{Topic: "t", Broker: "b"}
	cases := map[string]struct {
		looks  []FirstLook
		want   int64
		wantOK bool
	}{
		"nobody looked":   {},
		"one task saw it": {looks: []FirstLook{{a0: 5}}, want: 5, wantOK: true},
		"two tasks looked side by side, and the earlier counts": {looks: []FirstLook{{a0: 7, b0: 1}, {a0: 5}, {a0: 6}}, want: 5, wantOK: true},
		"it came between two looks":                             {looks: []FirstLook{{a0: 5}, {b0: 3}}},
		"it came after them":                                    {looks: []FirstLook{{b0: 3}}},
		"the topic was not there":                               {looks: []FirstLook{{}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got, ok := EndAt(tc.looks, a0); got != tc.want || ok != tc.wantOK {
				t.Errorf("%d, %v, want %d, %v", got, ok, tc.want, tc.wantOK)
			}
		})
	}
}

func TestFirstLookIsReadBack(t *testing.T) {
	cases := map[string]FirstLook{
		"none": {},
		"broker-a/0@17 broker-a/10@0 broker-b/2@9000000000": {
			{Topic: "t", Broker: "broker-b", ID: 2}:  9_000_000_000,
			{Topic: "t", Broker: "broker-a", ID: 10}: 0,
			{Topic: "t", Broker: "broker-a"}:         17,
		},
	}
	for text, look := range cases {
		if got := look.String(); got != text {
			t.Errorf("%q, want %q", got, text)
		}
		got, err := ParseFirstLook("t", text)
		if diff := cmp.Diff(look, got); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	}
}

func FuzzParseFirstLook(f *testing.F) {
	for _, text := range []string{"none", "b/0@1", "b/0@1 c/3@0", "", " ", "b", "b/0", "b/-1@2", "b/1@-2", "/1@2", "b/1@9223372036854775808"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		look, err := ParseFirstLook("t", text)
		if err != nil {
			return
		}
		again, err := ParseFirstLook("t", look.String())
		if diff := cmp.Diff(look, again); err != nil || diff != "" {
			t.Errorf("%q: %v\n%s", text, err, diff)
		}
	})
}
