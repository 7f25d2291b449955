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
		allocations: of(func(f figures) float64 { return f.allocations }),
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

// throughputTable shows the pairs, in markdown that reads as plain text, too.
func throughputTable(pairs []pair) string {
	rows := [][]string{{"direction", "value", "records", "", "records/s", "MB/s", "CPU µs/record", "allocations/record", "peak RSS MiB"}}
	for _, p := range pairs {
		for i, f := range []figures{p.worker, p.bare} {
			row := []string{string(p.kind), sizeName(p.size), fmt.Sprint(p.records), nameOf(i == 0)}
			rows = append(rows, append(row, fmt.Sprintf("%.0f", f.rate), fmt.Sprintf("%.1f", f.bytes/1e6),
				fmt.Sprintf("%.2f", f.cpu), fmt.Sprintf("%.1f", f.allocations), fmt.Sprintf("%.0f", f.rss/mib)))
		}
		rows = append(rows, []string{"", "", "", "ratio", ratio(p.worker.rate, p.bare.rate), "",
			ratio(p.bare.cpu, p.worker.cpu) + " per CPU-s", "", ""})
	}
	return table(rows)
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
