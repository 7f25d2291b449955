package record

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func pathOf(topics ...string) (p Path) {
	for _, topic := range topics {
		p = p.In(PlaceOf("s", topic))
	}
	return p
}

func places(n int) (topics []string) {
	for i := range n {
		topics = append(topics, fmt.Sprint("t", i))
	}
	return topics
}

func TestWhereARecordGoes(t *testing.T) {
	cases := map[string]struct {
		path     Path
		to       Place
		want     Path
		wantGoes bool
	}{
		"a record that was born there":    {path: pathOf("a"), to: PlaceOf("s", "b"), want: pathOf("a", "b"), wantGoes: true},
		"a record without a path":         {to: PlaceOf("s", "b"), want: pathOf("b"), wantGoes: true},
		"back to where it was born":       {path: pathOf("a", "b"), to: PlaceOf("s", "a")},
		"back to where it was in between": {path: pathOf("a", "b", "c"), to: PlaceOf("s", "b")},
		"to another topic of a system where it has been": {
			path:     pathOf("a", "b"),
			to:       PlaceOf("s", "c"),
			want:     pathOf("a", "b", "c"),
			wantGoes: true,
		},
		"to a topic of that name in another system": {
			path:     pathOf("a"),
			to:       PlaceOf("other", "a"),
			want:     pathOf("a").In(PlaceOf("other", "a")),
			wantGoes: true,
		},
		"to the last place that it may have": {
			path:     pathOf(places(MaxPlaces - 1)...),
			to:       PlaceOf("s", "b"),
			want:     pathOf(append(places(MaxPlaces-1), "b")...),
			wantGoes: true,
		},
		"beyond that": {path: pathOf(places(MaxPlaces)...), to: PlaceOf("s", "b")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, goes := tc.path.To(tc.to)
			if got != tc.want || goes != tc.wantGoes {
				t.Errorf("%q, %t, want %q, %t", got, goes, tc.want, tc.wantGoes)
			}
		})
	}
}

// What is stored is read by workers of other versions.
func TestPathsKeepTheirStoredForm(t *testing.T) {
	got := Path("").In(PlaceOf("kafka:abc", "orders")).In(PlaceOf("connect:0123", "orders"))
	if want := Path("z1MgZP26ef1IRl_2,MPXSXbpst8nSB8Es"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if PlaceOf("a", "bc") == PlaceOf("ab", "c") {
		t.Error("the border between a system and a topic does not count")
	}
}

func TestWhatIsNoPathIsNone(t *testing.T) {
	whole := string(pathOf("a", "b"))
	for name, text := range map[string]string{
		"nothing": "", "cut off": whole[:20], "without a mark": whole[:16] + whole[17:], "a place that is too short": whole[:15],
		"marks alone": strings.Repeat(",", 33), "not of the letters": strings.Repeat("!", 16), "white space": strings.Repeat(" ", 16),
		"too long": string(pathOf(places(MaxPlaces + 1)...)),
	} {
		t.Run(name, func(t *testing.T) {
			if p := ParsePath(text); p != "" {
				t.Errorf("%q is read as %q", text, p)
			}
		})
	}
}

// FuzzPath holds a path to its twin, a list.
func FuzzPath(f *testing.F) {
	f.Add("a b a c", "x")
	f.Fuzz(func(t *testing.T, topics, text string) {
		var path Path
		var twin []Place
		for topic := range strings.FieldsSeq(topics) {
			place, known := PlaceOf("s", topic), false
			for _, each := range twin {
				known = known || each == place
			}
			next, goes := path.To(place)
			if want := !known && len(twin) < MaxPlaces; goes != want || path.Has(place) != known {
				t.Fatalf("%q goes to %s: %t, has it: %t", path, place, goes, path.Has(place))
			}
			if goes {
				path, twin = next, append(twin, place)
			}
		}
		if path.Len() != len(twin) || ParsePath(string(path)) != path {
			t.Fatalf("%q has %d places, want %d, and is read back as %q", path, path.Len(), len(twin), ParsePath(string(path)))
		}
		if p := ParsePath(text); p != "" && (string(p) != text || p.Len() > MaxPlaces) {
			t.Fatalf("%q is read as %q", text, p)
		}
	})
}

// FuzzRounds releases a record over random links between topics, both ways and in rings. All rounds end, and every
// topic that can be reached gets the record.
func FuzzRounds(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 6))
		n := 2 + rng.IntN(4)
		links := make([][]int, n)
		for range 1 + rng.IntN(2*n) {
			from := rng.IntN(n)
			links[from] = append(links[from], rng.IntN(n))
		}
		type copied struct {
			at   int
			path Path
		}
		got, waits := make([]int, n), []copied{{}}
		for steps := 0; len(waits) > 0; steps++ {
			if steps > 100_000 {
				t.Fatalf("it goes on and on over %v", links)
			}
			r := waits[0]
			waits = waits[1:]
			got[r.at]++
			found := r.path.In(PlaceOf("s", fmt.Sprint(r.at)))
			for _, to := range links[r.at] {
				if path, goes := found.To(PlaceOf("s", fmt.Sprint(to))); goes {
					waits = append(waits, copied{to, path})
				}
			}
		}
		for topic, reached := range reachable(links) {
			if reached && got[topic] == 0 {
				t.Errorf("topic %d does not get the record over %v", topic, links)
			}
		}
		if got[0] != 1 {
			t.Errorf("the record comes back %d times to where it was born over %v", got[0]-1, links)
		}
	})
}

func reachable(links [][]int) []bool {
	seen, waits := make([]bool, len(links)), []int{0}
	for len(waits) > 0 {
		at := waits[0]
		waits = waits[1:]
		if !seen[at] {
			seen[at] = true
			waits = append(waits, links[at]...)
		}
	}
	return seen
}
