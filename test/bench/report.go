//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// median is the middle one; of an even number, the mean of the middle two.
func median(values []float64) float64 {
	s := slices.Sorted(slices.Values(values))
	if len(s) == 0 {
		return 0
	}
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}

// medians are those of each figure by itself.
func medians(runs []figures) figures {
	of := func(get func(figures) float64) float64 {
		all := make([]float64, len(runs))
		for i, f := range runs {
			all[i] = get(f)
		}
		return median(all)
	}
	return figures{
		rate: of(func(f figures) float64 { return f.rate }), bytes: of(func(f figures) float64 { return f.bytes }),
		cpu: of(func(f figures) float64 { return f.cpu }), rss: of(func(f figures) float64 { return f.rss }),
		allocations: of(func(f figures) float64 { return f.allocations }), lead: of(func(f figures) float64 { return f.lead }),
	}
}

// quantile is the value that a share q of the sorted values does not exceed.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

const mib = 1 << 20

// throughputTable shows the rounds, in markdown that reads as plain text, too.
func throughputTable(rounds []round) string {
	rows := [][]string{
		{"direction", "value", "records", "", "records/s", "MB/s", "CPU µs/record", "allocations/record", "peak RSS MiB", "first record s"},
	}
	for _, r := range rounds {
		for _, e := range entrants() {
			f, ok := r.medians[e]
			if !ok {
				continue
			}
			allocations := "–"
			if f.allocations > 0 {
				allocations = fmt.Sprintf("%.1f", f.allocations)
			}
			rows = append(rows, []string{string(e.kind), sizeName(r.size), fmt.Sprint(r.records), e.name, fmt.Sprintf("%.0f", f.rate),
				fmt.Sprintf("%.1f", f.bytes/1e6), fmt.Sprintf("%.2f", f.cpu), allocations, fmt.Sprintf("%.0f", f.rss/mib), fmt.Sprintf("%.2f", f.lead)})
		}
		rows = append(rows, ratios(r)...)
	}
	return table(rows)
}

// ratios compare the worker with the bare loops, and with MirrorMaker at its best.
func ratios(r round) (rows [][]string) {
	warm := entrant{peer, nameWarm}
	for _, of := range []struct {
		name string
		a, b entrant
	}{
		{"source worker / bare", entrant{source, nameWorker}, entrant{source, nameBare}},
		{"sink worker / bare", entrant{sink, nameWorker}, entrant{sink, nameBare}},
		{"source worker / " + nameWarm, entrant{source, nameWorker}, warm},
		{"sink worker / " + nameWarm, entrant{sink, nameWorker}, warm},
	} {
		a, has := r.medians[of.a]
		b, hasToo := r.medians[of.b]
		if has && hasToo {
			rows = append(
				rows,
				[]string{"ratio", sizeName(r.size), "", of.name, ratio(a.rate, b.rate), "", ratio(b.cpu, a.cpu) + " per CPU-s", "", "", ""},
			)
		}
	}
	return rows
}

func ratio(a, b float64) string {
	if b == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f", a/b)
}

func sizeName(n int) string {
	if n >= 1024 && n%1024 == 0 {
		return fmt.Sprintf("%d KiB", n/1024)
	}
	return fmt.Sprintf("%d B", n)
}

// table lays rows out as a markdown table; the first is its head.
func table(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(&b, "| %s%s ", cell, strings.Repeat(" ", widths[i]-len([]rune(cell))))
		}
		b.WriteString("|\n")
		if n == 0 {
			for _, w := range widths {
				b.WriteString("|" + strings.Repeat("-", w+2))
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}
