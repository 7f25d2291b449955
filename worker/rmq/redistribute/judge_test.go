package redistribute

import (
	"math/rand/v2"
	"testing"
	"time"
)

const remakeAfter = 5 * time.Second

func TestJudge(t *testing.T) {
	now := time.Unix(1000, 0)
	givenUp := now.Add(-GivenUpAfter)
	almostGivenUp, almostLong := givenUp.Add(time.Nanosecond), now.Add(time.Nanosecond-remakeAfter)
	cases := map[string]struct {
		sight Sight
		doubt Doubt
		want  Fate
		left  Doubt
	}{
		"a topic that no name server knows may be one whose brokers restart": {sight: Sight{Unknown: true}},
		"its broker does not know it either":                                 {sight: Sight{Unknown: true, Denied: true}, want: Fail},
		"the queue is shown as before":                                       {sight: Sight{Shown: true, There: true}},
		"nothing of the topic can be written to":                             {sight: Sight{There: true, Denied: true}},
		"its broker is away, and there are others":                           {sight: Sight{Others: true}, want: MoveMovable},
		"the broker that had fewer queues is away by now":                    {sight: Sight{Others: true, Fewer: true}, want: MoveMovable},
		"its broker says that it does not have the topic":                    {sight: Sight{Others: true, Denied: true}, want: MoveAll},
		"its broker is there, and has the topic with fewer queues": {
			sight: Sight{Others: true, There: true, Fewer: true}, want: MoveAll,
		},
		"its broker is there without the queue, for the first time": {
			sight: Sight{Others: true, There: true}, want: MoveMovable, left: Doubt{Refused: now},
		},
		"for not quite a minute": {
			sight: Sight{Others: true, There: true}, doubt: Doubt{Refused: almostGivenUp}, want: MoveMovable, left: Doubt{Refused: almostGivenUp},
		},
		"for a minute": {
			sight: Sight{Others: true, There: true}, doubt: Doubt{Refused: givenUp}, want: MoveAll, left: Doubt{Refused: givenUp},
		},
		"its broker denies the topic that it is shown with, for the first time": {
			sight: Sight{Shown: true, There: true, Denied: true}, left: Doubt{Denied: now},
		},
		"it has denied the topic for not quite so long": {
			sight: Sight{Shown: true, Denied: true}, doubt: Doubt{Denied: almostLong}, left: Doubt{Denied: almostLong},
		},
		"it has denied the topic for long": {
			sight: Sight{Shown: true, Denied: true}, doubt: Doubt{Denied: now.Add(-remakeAfter)}, want: Remake,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got, left := Judge(tc.sight, tc.doubt, now, remakeAfter); got != tc.want || left != tc.left {
				t.Errorf("fate %d, doubt %v, want %d, %v", got, left, tc.want, tc.left)
			}
		})
	}
}

type look struct {
	at time.Time
	Sight
}

func (l look) denied() bool  { return !l.Unknown && l.Shown && l.Denied }
func (l look) refused() bool { return !l.Unknown && l.Others && l.There && !l.Denied && !l.Fewer }

// slowFate is the obvious twin: it keeps all looks at a queue for ever, and goes over all of them each time.
func slowFate(looks []look) Fate {
	last := looks[len(looks)-1]
	for i := range looks {
		if longAgo := last.at.Sub(looks[i].at) >= GivenUpAfter; longAgo && looks[i].refused() && last.refused() {
			return MoveAll
		}
	}
	var remade bool
	since := -1
	for i := range looks {
		if remade = false; !looks[i].denied() {
			continue
		}
		if since < 0 {
			since = i
		} else if looks[i].at.Sub(looks[since].at) >= remakeAfter {
			remade, since = true, -1
		}
	}
	switch {
	case last.Unknown && last.Denied:
		return Fail
	case remade:
		return Remake
	case last.Unknown || !last.Others:
		return Wait
	case last.Denied || last.There && last.Fewer:
		return MoveAll
	}
	return MoveMovable
}

func FuzzJudgeAgainstTwin(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed, uint8(40))
	}
	f.Fuzz(func(t *testing.T, seed uint64, n uint8) {
		rng := rand.New(rand.NewPCG(seed, 1))
		chance := func(of int) bool { return rng.IntN(of) == 0 }
		step := []time.Duration{time.Millisecond, time.Second, 30 * time.Second}[rng.IntN(3)]
		var looks []look
		var doubt Doubt
		for at := time.Unix(1000, 0); len(looks) < int(n); at = at.Add(time.Duration(rng.Int64N(int64(step)))) {
			l := look{at, Sight{Unknown: chance(8), Shown: chance(2), There: !chance(4), Denied: chance(2), Fewer: chance(4)}}
			l.Others = !l.Shown && !chance(4)
			if len(looks) > 0 && !chance(4) { // as a rule all is as before
				l.Sight = looks[len(looks)-1].Sight
			}
			looks = append(looks, l)
			var got Fate
			got, doubt = Judge(l.Sight, doubt, at, remakeAfter)
			if want := slowFate(looks); got != want {
				t.Fatalf("look %d, %+v: fate %d, want %d", len(looks), l, got, want)
			}
		}
	})
}
