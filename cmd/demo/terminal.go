package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

const (
	enter = "\x1b[?1049h\x1b[?25l" // the other screen, no cursor
	leave = "\x1b[?25h\x1b[?1049l"
	// keyWait is how long one wait for a key lasts, so that the reading can end.
	keyWait = 100 * time.Millisecond
	ctrlC   = 3
)

// terminal is a terminal in raw mode.
type terminal struct {
	in, out *os.File
	before  *term.State
}

// openTerminal takes the terminal over; nil when there is none.
func openTerminal(in, out *os.File) (*terminal, error) {
	if !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return nil, nil
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("taking over the terminal: %w", err)
	}
	t := &terminal{in: in, out: out, before: before}
	if _, err := io.WriteString(out, enter); err != nil {
		return nil, errors.Join(fmt.Errorf("writing to the terminal: %w", err), t.close())
	}
	return t, nil
}

// close gives the terminal back as it was.
func (t *terminal) close() error {
	_, writeErr := io.WriteString(t.out, leave)
	return errors.Join(writeErr, term.Restore(int(t.in.Fd()), t.before))
}

func (t *terminal) draw(f frame) error {
	width, height, err := term.GetSize(int(t.out.Fd()))
	if err != nil {
		width, height = 80, 40
	}
	if _, err := io.WriteString(t.out, paint(screen(f), width, height)); err != nil {
		return fmt.Errorf("drawing: %w", err)
	}
	return nil
}

// keys sends what is typed until ctx ends. A terminal cannot be read with a time limit, so it waits by select(2), which
// works on terminals everywhere.
func (t *terminal) keys(ctx context.Context, out chan<- byte) error {
	fd := int(t.in.Fd())
	for ctx.Err() == nil {
		var set unix.FdSet
		set.Set(fd)
		limit := unix.NsecToTimeval(keyWait.Nanoseconds())
		n, err := unix.Select(fd+1, &set, nil, nil, &limit)
		if errors.Is(err, unix.EINTR) || err == nil && n == 0 {
			continue
		}
		if err != nil {
			return fmt.Errorf("waiting for a key: %w", err)
		}
		var buf [16]byte
		n, err = unix.Read(fd, buf[:])
		if err != nil || n == 0 {
			return fmt.Errorf("reading keys: %w", errors.Join(err, io.EOF))
		}
		for _, key := range buf[:n] {
			select {
			case out <- key:
			case <-ctx.Done():
			}
		}
	}
	return nil
}
