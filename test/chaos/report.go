package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"text/tabwriter"
	"time"
)

// report prints the tables and the summary; the error says that something was violated.
func report(s *scene, done []outcome) error {
	fmt.Println()
	unownedTable(os.Stdout, done)
	fmt.Println()
	repeatsTable(os.Stdout, done)
	result := s.flow.mark()
	violations, skipped := 0, 0
	for _, o := range done {
		violations += len(o.violations)
		if o.skipped != "" {
			skipped++
			fmt.Printf("round %d (%s) was left out: %s\n", o.round, o.fault, o.skipped)
		}
	}
	attempts := s.fleet.own.intervals(0)
	fmt.Printf("\n%d rounds (%d left out) from %d on, seed %d, %s; %d attempts of tasks; violations: %d\n", len(done), skipped, s.from,
		s.seed, time.Since(s.began).Round(time.Second), len(attempts), violations)
	fmt.Printf("records sent %d, come out %d, missing %d, lost with a broker's store %d, repeats %d, out of order %d, changed %d, foreign %d\n",
		s.flow.sent.Load(), result.Distinct, s.flow.missing(), result.Lost, result.Duplicates, result.OutOfOrder, result.Corrupt, result.Foreign)
	if violations > 0 {
		return errViolated
	}
	return nil
}

// quantile is the value that a part q of the sorted values does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func unownedTable(w io.Writer, done []outcome) {
	byKind := map[string][]time.Duration{}
	for _, o := range done {
		for _, u := range o.unowned {
			byKind[u.Kind] = append(byKind[u.Kind], u.Took)
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "tasks ran nowhere after\tn\tp50 ms\tp99 ms\tmax ms\ttarget ms\tmet\t")
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		took := byKind[kind]
		slices.Sort(took)
		target, met := "-", "-"
		if limit, ok := targets[kind]; ok {
			target, met = fmt.Sprint(limit.Milliseconds()), "yes"
			if took[len(took)-1] > limit {
				met = "no"
			}
		}
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t%s\t%s\t\n", kind, len(took), quantile(took, 0.5).Milliseconds(),
			quantile(took, 0.99).Milliseconds(), took[len(took)-1].Milliseconds(), target, met)
	}
	_ = t.Flush()
}

func repeatsTable(w io.Writer, done []outcome) {
	type sum struct{ rounds, repeats, most, peak int }
	byFault := map[string]sum{}
	for _, o := range done {
		if o.skipped == "" {
			x := byFault[o.fault]
			byFault[o.fault] = sum{x.rounds + 1, x.repeats + o.repeats, max(x.most, o.repeats), max(x.peak, o.peak)}
		}
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "records came out twice in rounds of\trounds\trepeats\tmost in a round\tpeak records/s\t")
	kinds := slices.SortedFunc(maps.Keys(byFault), func(a, b string) int { return cmp.Compare(a, b) })
	for _, kind := range kinds {
		x := byFault[kind]
		fmt.Fprintf(t, "%s\t%d\t%d\t%d\t%d\t\n", kind, x.rounds, x.repeats, x.most, x.peak)
	}
	_ = t.Flush()
}
