package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// journalLength is how many of the last events are kept.
const journalLength = 8

// journal holds what happened, and when.
type journal struct {
	mu    sync.Mutex
	begin time.Time
	lines []string
	echo  io.Writer // gets every event at once; nil: nobody
}

func newJournal(echo io.Writer) *journal { return &journal{begin: time.Now(), echo: echo} }

func (j *journal) add(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := fmt.Sprintf("%6.1fs  %s", time.Since(j.begin).Seconds(), fmt.Sprintf(format, args...))
	j.lines = append(j.lines, line)
	j.lines = j.lines[max(0, len(j.lines)-journalLength):]
	if j.echo != nil {
		_, _ = fmt.Fprintln(j.echo, line)
	}
}

func (j *journal) last() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return append([]string(nil), j.lines...)
}
