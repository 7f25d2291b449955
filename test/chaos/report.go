package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/test/chaos/rig"
)

// report prints the tables and the summary in Markdown, as the document has them; the error says that something was
// violated.
func report(w io.Writer, done []outcome, machine string) error {
	var sum outcome
	violations, skipped, attempts := 0, 0, 0
	for _, o := range done {
		sum.Took += o.Took
		sum.Sent, sum.CameOut, sum.Lost, sum.Missing = sum.Sent+o.Sent, sum.CameOut+o.CameOut, sum.Lost+o.Lost, max(sum.Missing, o.Missing)
		sum.Repeats, sum.OutOfOrder, sum.Overtaken = sum.Repeats+o.Repeats, sum.OutOfOrder+o.OutOfOrder, sum.Overtaken+o.Overtaken
		sum.Changed, sum.Foreign, sum.Late = sum.Changed+o.Changed, sum.Foreign+o.Foreign, sum.Late+o.Late
		attempts += o.Attempts
		violations += len(o.Violations)
		if o.Skipped != "" {
			skipped++
		}
	}
	fmt.Fprintf(
		w,
		"%s\n\n%s\n%d rounds (%d left out) in %s; %d attempts of tasks; violations: %d\n",
		machine,
		ranges(done),
		len(done),
		skipped,
		sum.Took.Round(time.Second),
		attempts,
		violations,
	)
	fmt.Fprintf(
		w,
		"records sent %d, come out %d, missing %d, lost with a broker's store %d%s, repeats %d, out of order %s, changed %d, foreign %d\n\n",
		sum.Sent,
		sum.CameOut,
		sum.Missing,
		sum.Lost,
		late(sum),
		sum.Repeats,
		disorder(done, sum),
		sum.Changed,
		sum.Foreign,
	)
	unownedTable(w, done)
	fmt.Fprintln(w)
	repeatsTable(w, done)
	for _, o := range done {
		if o.Skipped != "" {
			fmt.Fprintf(w, "\nseed %d, round %d (%s) was left out: %s", o.Seed, o.Round, o.Fault, o.Skipped)
		}
		for _, v := range o.Violations {
			fmt.Fprintf(w, "\nseed %d, round %d (%s): VIOLATION: %s", o.Seed, o.Round, o.Fault, v)
		}
	}
	fmt.Fprintln(w)
	if violations > 0 {
		return errViolated
	}
	return nil
}

// late says how many came late after a broker lost them, if any did.
func late(sum outcome) string {
	if sum.Late == 0 {
		return ""
	}
	return fmt.Sprintf(" and late after that %d", sum.Late)
}

// disorder counts by key; by partition, too, where that is checked.
func disorder(done []outcome, sum outcome) string {
	if !slices.ContainsFunc(done, func(o outcome) bool { return cmp.Or(o.Topology, rig.Single) != rig.Single }) {
		return fmt.Sprint(sum.OutOfOrder)
	}
	return fmt.Sprintf("by key %d and by partition %d", sum.OutOfOrder, sum.Overtaken)
}

// ranges names the rounds by topology and seed.
func ranges(done []outcome) string {
	type run struct {
		topology string
		seed     uint64
	}
	runs := map[run][]int{}
	for _, o := range done {
		r := run{cmp.Or(o.Topology, rig.Single), o.Seed}
		runs[r] = append(runs[r], o.Round)
	}
	var out []string
	for _, r := range slices.SortedFunc(maps.Keys(runs), func(a, b run) int {
		return cmp.Or(cmp.Compare(a.topology, b.topology), cmp.Compare(a.seed, b.seed))
	}) {
		rounds, on := runs[r], ""
		if r.topology != rig.Single {
			on = r.topology + ", "
		}
		out = append(out, fmt.Sprintf("%sseed %d, rounds %d to %d", on, r.seed, slices.Min(rounds), slices.Max(rounds)))
	}
	return strings.Join(out, "; ")
}

// quantile is the value that a part q of the sorted values does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

func unownedTable(w io.Writer, done []outcome) {
	rounds, byKind := map[string]int{}, map[string][]time.Duration{}
	for _, o := range done {
		seen := map[string]bool{}
		for _, u := range o.Unowned {
			byKind[u.Kind] = append(byKind[u.Kind], u.Took)
			if !seen[u.Kind] {
				seen[u.Kind] = true
				rounds[u.Kind]++
			}
		}
	}
	fmt.Fprintln(w, "| Tasks ran nowhere after | Rounds | n | p50 ms | p99 ms | max ms | Target ms | Met |\n|---|---|---|---|---|---|---|---|")
	for _, kind := range slices.Sorted(maps.Keys(byKind)) {
		took := byKind[kind]
		slices.Sort(took)
		target, met := "–", "–"
		if limit, ok := targets[kind]; ok {
			target, met = fmt.Sprint(limit.Milliseconds()), "yes"
			if over := len(took) - countUpTo(took, limit); over > 0 {
				met = fmt.Sprintf("no (%d of %d)", over, len(took))
			}
		}
		fmt.Fprintf(w, "| %s | %d | %d | %d | %d | %d | %s | %s |\n", kind, rounds[kind], len(took), quantile(took, 0.5).Milliseconds(),
			quantile(took, 0.99).Milliseconds(), took[len(took)-1].Milliseconds(), target, met)
	}
}

func countUpTo(sorted []time.Duration, limit time.Duration) int {
	n, _ := slices.BinarySearch(sorted, limit+1)
	return n
}

func repeatsTable(w io.Writer, done []outcome) {
	byFault := map[string][]outcome{}
	for _, o := range done {
		if o.Skipped == "" {
			byFault[o.Fault] = append(byFault[o.Fault], o)
		}
	}
	fmt.Fprintln(
		w,
		"| Records came out again in rounds of | Rounds | Repeats | Most in a round | Allowed in that round | Peak records/s | Lost "+
			"with the store |\n"+
			"|---|---|---|---|---|---|---|",
	)
	for _, name := range slices.Sorted(maps.Keys(byFault)) {
		var repeats, peak, lost int
		rounds := byFault[name]
		for _, o := range rounds {
			repeats, peak, lost = repeats+o.Repeats, max(peak, o.Peak), lost+o.Lost
		}
		most := slices.MaxFunc(rounds, func(a, b outcome) int { return cmp.Compare(a.Repeats, b.Repeats) })
		fmt.Fprintf(w, "| %s | %d | %d | %d | %d | %d | %d |\n", name, len(rounds), repeats, most.Repeats, most.Allowed, peak, lost)
	}
}

// machine says where the rounds ran; its end is told when it is printed.
type machine struct{ what, began string }

func (s *scene) machine(ctx context.Context) machine {
	memory := "unknown memory"
	var kib int
	if b, err := os.ReadFile("/proc/meminfo"); err == nil {
		if _, err := fmt.Sscanf(string(b), "MemTotal: %d kB", &kib); err == nil {
			memory = fmt.Sprintf("%d GiB", (kib+1<<19)>>20)
		}
	}
	b, made := s.fleet.brokers, ""
	if s.topology != rig.Single {
		made = " (topology " + s.topology + ")"
	}
	return machine{
		what: fmt.Sprintf(
			"%d cores, %s, %s%s, %s, %d records/s of %d bytes",
			runtime.NumCPU(),
			memory,
			b.Version(ctx, b.Brokers[0].Process),
			made,
			b.Version(ctx, rig.Kafka),
			s.rate,
			s.size,
		),
		began: load(),
	}
}

// String adds the load averages by then.
func (m machine) String() string {
	return fmt.Sprintf("%s; load averages at the start %s, at the end %s", m.what, m.began, load())
}

func load() string {
	b, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(b)); err == nil && len(f) > 3 {
		return strings.Join(f[:3], " ")
	}
	return "unknown"
}

// results is a file of one outcome a line; without a file nothing is kept.
type results struct{ f *os.File }

func newResults(path string) (*results, error) {
	if path == "" {
		return &results{}, nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the file for results: %w", err)
	}
	return &results{f}, nil
}

func (r *results) add(o outcome) error {
	if r.f == nil {
		return nil
	}
	if err := json.NewEncoder(r.f).Encode(o); err != nil {
		return fmt.Errorf("writing a result: %w", err)
	}
	return nil
}

// Close closes the file, if there is one.
func (r *results) Close() {
	if r.f != nil {
		_ = r.f.Close()
	}
}

// merge reports on the rounds in some files.
func merge(paths []string) error {
	done, err := readResults(paths)
	if err != nil {
		return err
	}
	return report(os.Stdout, done, "Results of "+strings.Join(paths, ", "))
}

func readResults(paths []string) ([]outcome, error) {
	var done []outcome
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("merging results: %w", err)
		}
		for line := range bytes.Lines(b) {
			var o outcome
			if err := json.Unmarshal(line, &o); err != nil {
				return nil, fmt.Errorf("merging %s: %w", path, err)
			}
			done = append(done, o)
		}
	}
	return done, nil
}
