package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/rocketmq-connect/operator/test/chaos/traffic"
)

// peak is the most memory that a worker had.
type peak struct {
	id    string
	bytes int64
}

// verdict is what came of it all.
type verdict struct {
	kinds    []*kind
	tally    traffic.Tally
	drained  error    // why records are missing
	moved    []string // tasks of the flow
	anew     int      // of them began again where they were
	ended    []string // workers
	newcomer error    // why the worker that started last is not ready
	peaks    []peak
}

var errViolated = errors.New("a promise was broken")

// print writes the tables and the summary; the error says what did not hold.
func (v verdict) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "\nSENT TO\tWHAT\tSENT\tNOT SENT")
	all := 0
	for _, k := range v.kinds {
		if k.sent+k.failed+len(k.wrong) == 0 {
			continue
		}
		all += k.sent
		note := ""
		if k.failed > 0 {
			note = fmt.Sprintf(" (%.90s)", strings.ReplaceAll(fmt.Sprint(k.last), "\n", "; "))
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d%s\n", k.target, k.name, k.sent, k.failed, note)
	}
	fmt.Fprintln(t, "\nWORKER\tPEAK RSS")
	for _, p := range v.peaks {
		fmt.Fprintf(t, "%s\t%d MiB\n", p.id, p.bytes>>20)
	}
	_ = t.Flush()
	fmt.Fprintf(
		w,
		"\n%d sent. Records of the flow: sent %d, come out %d, missing %d, repeats %d, out of order %d, changed %d, foreign %d\n",
		all,
		v.tally.Sent,
		v.tally.Distinct,
		v.tally.Missing,
		v.tally.Duplicates,
		v.tally.OutOfOrder,
		v.tally.Corrupt,
		v.tally.Foreign,
	)
	broken := v.broken()
	fmt.Fprintf(
		w,
		"%d restarts, %d tasks moved, %d records missing; %d tasks began again where they were\n",
		len(v.ended),
		len(v.moved),
		v.tally.Missing,
		v.anew,
	)
	for _, b := range broken {
		fmt.Fprintln(w, "VIOLATION:", b)
	}
	if len(broken) > 0 {
		return fmt.Errorf("%w, %d times", errViolated, len(broken))
	}
	return nil
}

// broken lists what did not hold.
func (v verdict) broken() (out []string) {
	out = append(append(out, v.ended...), v.moved...)
	for what, err := range map[string]error{"records are missing": v.drained, "a worker that starts on what is left": v.newcomer} {
		if err != nil {
			out = append(out, fmt.Sprintf("%s: %v", what, err))
		}
	}
	if t := v.tally; t.Missing+t.Corrupt+t.Foreign+t.OutOfOrder > 0 {
		out = append(
			out,
			fmt.Sprintf("records: %d missing, %d changed, %d foreign, %d out of order", t.Missing, t.Corrupt, t.Foreign, t.OutOfOrder),
		)
	}
	for _, p := range v.peaks {
		if p.bytes > mostMemory {
			out = append(out, fmt.Sprintf("%s took %d MiB", p.id, p.bytes>>20))
		}
	}
	for _, k := range v.kinds {
		if len(k.wrong) > 0 {
			out = append(out, fmt.Sprintf("%s: %s: %d wrong answers, the last: %v", k.target, k.name, len(k.wrong), k.wrong[len(k.wrong)-1]))
		}
	}
	return out
}
