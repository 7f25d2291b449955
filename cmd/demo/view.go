package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// frame is all that the view shows at one time.
type frame struct {
	At      time.Duration // since the beginning
	Workers []workerState
	Members []string
	Units   []unit
	// From is the worker that members and units are from; empty: none answers, and they are old.
	From    string
	Now     time.Time
	Totals  totals
	Through int64 // records in RocketMQ, repeats among them
	Rates   rates
	Events  []string
}

// rates are records a second.
type rates struct{ In, Through, Out float64 }

// line is one line of the screen.
type line struct {
	text  string
	style style
	event bool // it may be left out where the screen is short
}

type style string

const (
	plain  style = ""
	title  style = "\x1b[1m"
	bad    style = "\x1b[31m"
	good   style = "\x1b[32m"
	faint  style = "\x1b[2m"
	normal       = "\x1b[0m"
)

const keysHelp = "keys: 1 2 3 kill or restart a worker   p pause or resume the source   q quit"

// screen lays the frame out for a terminal.
func screen(f frame) []line {
	out := []line{
		{
			text: fmt.Sprintf(
				"RocketMQ Connect: Kafka topic %s -> RocketMQ topic %s -> Kafka topic %s   %ds",
				topic,
				topic,
				copyTopic,
				int(f.At.Seconds()),
			),
			style: title,
		},
		{},
		{text: row("WORKER", "PROCESS", "MEMBER", "OWNS"), style: title},
	}
	for i, w := range f.Workers {
		out = append(out, f.workerLine(i, w))
	}
	out = append(out, line{}, line{text: fmt.Sprintf("%-24s %-12s %s", "CONNECTOR/TASK", "STATE", "WORKER"), style: title})
	for _, u := range f.Units {
		out = append(out, unitLine(u))
	}
	switch {
	case f.From == "" && len(f.Units) > 0:
		out = append(out, line{text: "no worker answers: the above is what was last known", style: bad})
	case len(f.Units) == 0:
		out = append(out, line{text: "starting ...", style: faint})
	}
	t := f.Totals
	out = append(
		out,
		line{},
		line{text: fmt.Sprintf("%-24s %12s %12s", "RECORDS", "TOTAL", "A SECOND"), style: title},
		line{text: count("into Kafka", t.In, f.Rates.In)},
		line{text: count("through RocketMQ", f.Through, f.Rates.Through)},
		line{text: count("back in Kafka", t.Out, f.Rates.Out)},
		line{
			text:  fmt.Sprintf("%-24s %12s   repeated %s   damaged %s", "missing", grouped(t.Missing), grouped(t.Repeated), grouped(t.Damaged)),
			style: verdict(t),
		},
		line{text: fmt.Sprintf("%-24s %12s", "on the way", grouped(t.InFlight()))},
		line{},
	)
	for _, e := range f.Events {
		out = append(out, line{text: e, style: faint, event: true})
	}
	return append(out, line{}, line{text: keysHelp, style: title})
}

func verdict(t totals) style {
	if t.Missing > 0 || t.Damaged > 0 {
		return bad
	}
	return good
}

func row(worker, process, member, owns string) string {
	return fmt.Sprintf("%-12s %-24s %-8s %s", worker, process, member, owns)
}

func (f frame) workerLine(i int, w workerState) line {
	process, s := fmt.Sprintf("runs, process %d", w.PID), plain
	if !w.Running {
		process, s = fmt.Sprintf("ended %ds ago", int(f.Now.Sub(w.Since).Seconds())), bad
		if w.Killed {
			process = strings.Replace(process, "ended", "killed", 1)
		}
	}
	member := "no"
	if slices.Contains(f.Members, w.ID) {
		member = "yes"
	}
	return line{text: row(strconv.Itoa(i+1)+" "+w.ID, process, member, strings.Join(f.owned(w.ID), " ")), style: s}
}

// owned lists the tasks of a worker.
func (f frame) owned(worker string) []string {
	var out []string
	for _, u := range f.Units {
		if u.Worker == worker && u.Task != "" {
			out = append(out, u.title())
		}
	}
	return out
}

func unitLine(u unit) line {
	name, s := u.Name, plain
	if u.Task != "" {
		name = "  task " + u.Task
	}
	switch u.State {
	case restapi.StateRunning:
		s = good
	case restapi.StateFailed, restapi.StateUnassigned, restapi.StateRestarting:
		s = bad
	}
	text := fmt.Sprintf("%-24s %-12s %s", name, u.State, u.Worker)
	if u.Error != "" {
		text += "   " + u.Error
	}
	return line{text: text, style: s}
}

func count(what string, n int64, perSecond float64) string {
	return fmt.Sprintf("%-24s %12s %12s", what, grouped(n), grouped(int64(perSecond+0.5)))
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	s := strconv.FormatInt(n, 10)
	for at := len(s) - 3; at > 0 && s[at-1] != '-'; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// paint draws the lines over what is on the screen, cut to its size.
func paint(lines []line, width, height int) string {
	var b strings.Builder
	b.WriteString("\x1b[H")
	for i, l := range fit(lines, height) {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(string(l.style) + cut(l.text, width) + normal + "\x1b[K")
	}
	b.WriteString("\x1b[J")
	return b.String()
}

// fit leaves out what is over the height: empty lines, then the oldest events, then what is just above the help.
func fit(lines []line, height int) []line {
	over := len(lines) - height
	leaveOut := func(which func(line) bool) {
		lines = slices.DeleteFunc(slices.Clone(lines), func(l line) bool {
			out := over > 0 && which(l)
			if out {
				over--
			}
			return out
		})
	}
	leaveOut(func(l line) bool { return l.text == "" })
	leaveOut(func(l line) bool { return l.event })
	if over > 0 {
		lines = append(lines[:max(0, height-1)], lines[len(lines)-1])
	}
	return lines
}

// cut leaves out what does not fit, and control characters, which error texts may bring.
func cut(s string, width int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width])
}

// summary is the frame on one line, for where there is no screen. Damaged records are told of once there are any.
func summary(f frame) string {
	t := f.Totals
	s := fmt.Sprintf("%6.1fs  %s in, %s through RocketMQ, %s back, %s on the way, %s missing, %s repeated", f.At.Seconds(),
		grouped(t.In), grouped(f.Through), grouped(t.Out), grouped(t.InFlight()), grouped(t.Missing), grouped(t.Repeated))
	if t.Damaged > 0 {
		s += ", " + grouped(t.Damaged) + " damaged"
	}
	var owned []string
	for _, w := range f.Workers {
		n := strconv.Itoa(len(f.owned(w.ID)))
		if !w.Running {
			n = "down"
		}
		owned = append(owned, n)
	}
	return s + " | tasks: " + strings.Join(owned, ", ")
}
