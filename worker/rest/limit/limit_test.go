package limit

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCallersAreCountedByTheirHost(t *testing.T) {
	cases := map[string]struct {
		a, b string
		same bool
	}{
		"ports of one address":             {"192.0.2.1:1", "192.0.2.1:2", true},
		"neighbours":                       {"192.0.2.1:1", "192.0.2.2:1", false},
		"an address inside IPv6":           {"192.0.2.1:1", "[::ffff:192.0.2.1]:1", true},
		"addresses that one host may take": {"[2001:db8::1]:1", "[2001:db8::ffff:2]:1", true},
		"networks of IPv6":                 {"[2001:db8:0:1::1]:1", "[2001:db8:0:2::1]:1", false},
		"hosts on one link":                {"[fe80::1%eth0]:1", "[fe80::2%eth0]:1", false},
		"what has no address":              {"@", "pipe", true},
	}
	for name, tc := range cases {
		if same := Caller(tc.a) == Caller(tc.b); same != tc.same {
			t.Errorf("%s: %s and %s are one: %v", name, tc.a, tc.b, same)
		}
	}
}

// script runs a line of steps: "a" is a new connection of host a, "a!" a new one on which a request is answered at
// once, "a-" closes host a's newest, "a." ends its newest request. It returns what became of each new one, and what
// each host holds then.
func script(limits Limits, steps string) (outcome []string, holds map[string]int) {
	t := table{limits: limits, held: map[netip.Addr]map[*slot]struct{}{}}
	host := func(name byte) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, name}) }
	var open []*slot
	for _, step := range strings.Fields(steps) {
		from, act := host(step[0]), step[1:]
		if act == "-" || act == "." {
			for i := len(open) - 1; i >= 0; i-- {
				if _, held := t.held[from][open[i]]; held && (act == "-" || !open[i].quiet) {
					if act == "-" {
						t.remove(open[i])
					} else {
						t.silence(open[i])
					}
					break
				}
			}
			continue
		}
		in, displaced, reached := t.admit(from)
		switch {
		case in == nil:
			outcome = append(outcome, step+" refused by "+reached)
		case displaced != nil:
			outcome = append(outcome, fmt.Sprintf("%s displaces %c by %s", step, displaced.from.As4()[3], reached))
		default:
			outcome = append(outcome, step)
		}
		if in != nil {
			in.quiet = act != "!"
			open = append(open, in)
		}
	}
	holds = map[string]int{}
	for addr, held := range t.held {
		holds[string(rune(addr.As4()[3]))] = len(held)
	}
	return outcome, holds
}

func TestOneCallerCannotUseUpAnothers(t *testing.T) {
	cases := map[string]struct {
		limits Limits
		steps  string
		want   string // what became of the last
		holds  map[string]int
	}{
		"within both limits":                             {Limits{4, 2}, "a a b", "b", map[string]int{"a": 2, "b": 1}},
		"an address displaces its own quiet ones":        {Limits{4, 2}, "b a a a", "a displaces a by address", map[string]int{"a": 2, "b": 1}},
		"an address whose requests are answered is full": {Limits{4, 2}, "a! a! a", "a refused by address", map[string]int{"a": 2}},
		"others are let in then":                         {Limits{4, 2}, "a! a! a b", "b", map[string]int{"a": 2, "b": 1}},
		"a closed one makes room":                        {Limits{4, 2}, "a! a! a- a", "a", map[string]int{"a": 2}},
		"an answered request makes room":                 {Limits{4, 2}, "a! a! a. a", "a displaces a by address", map[string]int{"a": 2}},
		"all full: who holds most gives": {
			Limits{4, 3},
			"b a a a c",
			"c displaces a by all",
			map[string]int{"a": 2, "b": 1, "c": 1},
		},
		"all full: who holds most is busy": {
			Limits{5, 3},
			"b b a! a! a! c",
			"c displaces b by all",
			map[string]int{"a": 3, "b": 1, "c": 1},
		},
		"all full and busy":                                {Limits{2, 2}, "a! b! c", "c refused by all", map[string]int{"a": 1, "b": 1}},
		"all full: nobody gives to who holds as much":      {Limits{2, 2}, "a b! b", "b refused by all", map[string]int{"a": 1, "b": 1}},
		"all full: who holds as much gives of its own":     {Limits{2, 2}, "a b b", "b displaces b by all", map[string]int{"a": 1, "b": 1}},
		"all full of one each: a newcomer gets the oldest": {Limits{2, 2}, "a b c", "c displaces a by all", map[string]int{"b": 1, "c": 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			outcome, holds := script(tc.limits, tc.steps)
			if got := outcome[len(outcome)-1]; got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if diff := cmp.Diff(tc.holds, holds); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestALimitIsNeverPassed(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	limits := Limits{All: 7, PerAddress: 3}
	for range 300 {
		var steps []string
		for range 60 {
			steps = append(steps, string("abcdef"[random.IntN(6)])+[]string{"", "", "!", "!", "-", "."}[random.IntN(6)])
		}
		_, holds := script(limits, strings.Join(steps, " "))
		all := 0
		for host, n := range holds {
			if all += n; n > limits.PerAddress {
				t.Errorf("%s holds %d after %v", host, n, steps)
			}
		}
		if all > limits.All {
			t.Errorf("%d in all after %v", all, steps)
		}
	}
}

func TestStreamsAreCounted(t *testing.T) {
	s := &Streams{Limits: Limits{All: 3, PerAddress: 2}}
	var got []string
	closers := map[string]func(){}
	for i, remote := range []string{"10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.2:1", "10.0.0.3:1"} {
		closed, reached := s.Open(remote)
		got = append(got, reached)
		closers[strconv.Itoa(i)] = closed
	}
	if diff := cmp.Diff([]string{"", "", ByAddress, "", InAll}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	closers["0"]()
	if closed, reached := s.Open("10.0.0.3:1"); closed == nil {
		t.Errorf("a closed stream makes no room: %s", reached)
	}
	for _, i := range []string{"1", "3"} {
		closers[i]()
	}
	if s.all != 1 || len(s.held) != 1 {
		t.Errorf("left: %d, %v", s.all, s.held)
	}
}
