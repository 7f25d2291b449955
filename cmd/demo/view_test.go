package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// put has the ledger make n records of a key.
func put(l *ledger, key, n int) (name []byte, values [][]byte) {
	for range n {
		var value []byte
		name, value = l.next(key)
		values = append(values, value)
		l.confirmed()
	}
	return name, values
}

func TestLedger(t *testing.T) {
	cases := map[string]struct {
		see  []int // numbers of key 0, of which five went in
		want totals
	}{
		"nothing came yet":                {nil, totals{In: 5}},
		"all came":                        {[]int{0, 1, 2, 3, 4}, totals{In: 5, Out: 5}},
		"one was overtaken":               {[]int{0, 2, 3}, totals{In: 5, Out: 3, Missing: 1}},
		"one was overtaken and came late": {[]int{0, 2, 1, 3}, totals{In: 5, Out: 4}},
		"some came again":                 {[]int{0, 1, 2, 1, 2, 3, 4}, totals{In: 5, Out: 5, Repeated: 2}},
		"the first are missing":           {[]int{3}, totals{In: 5, Out: 1, Missing: 3}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := newLedger(2)
			key, values := put(l, 0, 5)
			for _, i := range tc.see {
				l.see(key, values[i])
			}
			if d := cmp.Diff(tc.want, l.count()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestLedgerTakesNothingElse(t *testing.T) {
	cases := map[string]struct{ name, value string }{
		"a key that is none":           {"x", "0 of key-0:" + filler},
		"a key that there is not":      {"key-9", "0 of key-9:" + filler},
		"a number that did not go in":  {"key-0", "7 of key-0:" + filler},
		"a value of another key":       {"key-0", "0 of key-1:" + filler},
		"a value that lost its end":    {"key-0", "0 of key-0:"},
		"a value that is no number":    {"key-0", "zero"},
		"a number with something else": {"key-0", "00 of key-0:" + filler},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := newLedger(2)
			put(l, 0, 1)
			put(l, 1, 1)
			l.see([]byte(tc.name), []byte(tc.value))
			if d := cmp.Diff(totals{In: 2, Damaged: 1}, l.count()); d != "" {
				t.Error(d)
			}
		})
	}
}

func aFrame() frame {
	now := time.Unix(1_795_000_000, 0)
	return frame{
		At: 12*time.Second + 300*time.Millisecond, Now: now,
		Workers: []workerState{
			{ID: "worker-1", Running: true, PID: 4711},
			{ID: "worker-2", Killed: true, Since: now.Add(-3 * time.Second)},
			{ID: "worker-3", Since: now.Add(-time.Second), Why: "no disk"},
		},
		Members: []string{"worker-1", "worker-2"},
		Units: []unit{
			{Name: "a", State: "Running", Worker: "worker-1"},
			{Name: "a", Task: "0", State: "Running", Worker: "worker-1"},
			{Name: "a", Task: "1", State: "Unassigned", Worker: "worker-2"},
			{Name: "a", Task: "2", State: "Failed", Worker: "worker-1", Error: "no\x1b[2Jsuch topic"},
		},
		From: "worker-1", Totals: totals{In: 12345, Out: 12000, Missing: 2, Repeated: 7}, Through: 12340,
		Rates: rates{In: 500.4, Through: 499.6, Out: 480}, Events: []string{"first", "second"},
	}
}

func texts(lines []line) string {
	var out []string
	for _, l := range lines {
		out = append(out, l.text)
	}
	return strings.Join(out, "\n") + "\n"
}

func TestScreen(t *testing.T) {
	want := `RocketMQ Connect: Kafka topic orders -> RocketMQ topic orders -> Kafka topic orders-copy   12s

WORKER       PROCESS                  MEMBER   OWNS
1 worker-1   runs, process 4711       yes      a/0 a/2
2 worker-2   killed 3s ago            yes      a/1
3 worker-3   ended 1s ago             no       

CONNECTOR/TASK           STATE        WORKER
a                        Running      worker-1
  task 0                 Running      worker-1
  task 1                 Unassigned   worker-2
  task 2                 Failed       worker-1   no` + "\x1b" + `[2Jsuch topic

RECORDS                         TOTAL     A SECOND
into Kafka                     12,345          500
through RocketMQ               12,340          500
back in Kafka                  12,000          480
missing                             2   repeated 7   damaged 0
on the way                        343

first
second

` + keysHelp + "\n"
	if d := cmp.Diff(want, texts(screen(aFrame()))); d != "" {
		t.Error(d)
	}
}

func TestScreenWithoutAWorker(t *testing.T) {
	f := aFrame()
	f.From = ""
	if got := texts(screen(f)); !strings.Contains(got, "no worker answers") {
		t.Error(got)
	}
	if got := texts(screen(frame{})); !strings.Contains(got, "starting ...") || strings.Contains(got, "no worker answers") {
		t.Error(got)
	}
}

func TestPaintKeepsToTheSizeOfTheTerminal(t *testing.T) {
	got := paint(screen(aFrame()), 40, 10)
	lines := strings.Split(got, "\r\n")
	if len(lines) != 10 || !strings.Contains(lines[9], keysHelp[:40]) {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
	if all := paint(screen(aFrame()), 200, 100); strings.Contains(all, "\x1b[2J") {
		t.Error("an error text controls the terminal")
	}
	for _, l := range lines {
		l = strings.NewReplacer(
			"\x1b[H",
			"",
			"\x1b[K",
			"",
			"\x1b[J",
			"",
			normal,
			"",
			string(title),
			"",
			string(bad),
			"",
			string(good),
			"",
		).Replace(
			l,
		)
		if len(l) > 40 {
			t.Errorf("%d characters in %q", len(l), l)
		}
	}
}

func TestAShortTerminalShowsWhatCounts(t *testing.T) {
	f := aFrame()
	all := screen(f)
	for height, want := range map[int]string{
		len(all):     "two events and a gap",
		len(all) - 1: "two events and a gap",
		len(all) - 5: "two events",
		len(all) - 6: "one event",
		len(all) - 7: "none",
	} {
		got := texts(fit(screen(f), height))
		if n := strings.Count(got, "\n"); n != height {
			t.Errorf("%d lines, want %d", n, height)
		}
		shows := "none"
		switch {
		case strings.Contains(got, "first") && strings.Contains(got, "\n\n"):
			shows = "two events and a gap"
		case strings.Contains(got, "first"):
			shows = "two events"
		case strings.Contains(got, "second"):
			shows = "one event"
		}
		if shows != want || !strings.Contains(got, "on the way") || !strings.Contains(got, keysHelp) {
			t.Errorf("with %d lines it shows %s, want %s:\n%s", height, shows, want, got)
		}
	}
}

func TestSummary(t *testing.T) {
	const begin = "  12.3s  12,345 in, 12,340 through RocketMQ, 12,000 back, 343 on the way, 2 missing, 7 repeated"
	const end = " | tasks: 2, down, down"
	f := aFrame()
	if d := cmp.Diff(begin+end, summary(f)); d != "" {
		t.Error(d)
	}
	f.Totals.Damaged = 3
	if d := cmp.Diff(begin+", 3 damaged"+end, summary(f)); d != "" {
		t.Error(d)
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -123: "-123", -1234: "-1,234"} {
		if got := grouped(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
