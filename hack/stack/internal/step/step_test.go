package step

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var errBroken = errors.New("broken")

func TestAllEndsTheOthersWithTheFirstFailure(t *testing.T) {
	err := All(context.Background(),
		func(context.Context) error { return errBroken },
		func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
	if !errors.Is(err, errBroken) || errors.Is(err, context.Canceled) {
		t.Errorf("All fails with %v, want only the first failure", err)
	}
	if err := All(context.Background()); err != nil {
		t.Errorf("All of nothing fails with %v", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := All(ended, func(ctx context.Context) error { return ctx.Err() }); !errors.Is(err, context.Canceled) {
		t.Errorf("All in an ended context fails with %v", err)
	}
}

func TestUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		tries := 0
		if err := Until(ctx, func(context.Context) (bool, error) { tries++; return tries == 3, errBroken }); err != nil || tries != 3 {
			t.Errorf("%d tries (%v), want 3", tries, err)
		}
		err := Until(ctx, func(context.Context) (bool, error) { return false, errBroken })
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, errBroken) {
			t.Errorf("Until fails with %v, want the end of the time and what was missing", err)
		}
		err = Until(t.Context(), func(context.Context) (bool, error) { return false, &FatalError{Err: errBroken} })
		if !errors.Is(err, errBroken) {
			t.Errorf("Until fails with %v, want the fatal error", err)
		}
	})
}

func TestDoSaysThatItIsStillAtIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		err := NewReporter(&out).Do(t.Context(), "etcd", "building etcd", func(ctx context.Context) error { return Pause(ctx, 45*time.Second) })
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"0.0s  etcd", "10.0s", "still at it after 40 s", "done in 45 s"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the progress has no %q:\n%s", want, out.String())
			}
		}
	})
}

func TestACommandThatFailsShowsTheEndOfItsLog(t *testing.T) {
	c := Command{Log: filepath.Join(t.TempDir(), "log"), Args: []string{"sh", "-c", "echo no such module; exit 1"}}
	if err := c.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "no such module") {
		t.Errorf("Run fails with %v, want the end of the log", err)
	}
	if _, err := Output(
		context.Background(),
		"sh",
		"-c",
		"echo bad flag >&2; exit 1",
	); err == nil ||
		!strings.Contains(err.Error(), "bad flag") {
		t.Errorf("Output fails with %v, want the standard error", err)
	}
}

func TestALockIsHeldOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	release, err := Lock(context.Background(), path, func() { t.Error("the first waits") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	waited := 0
	if _, err := Lock(ctx, path, func() { waited++; cancel() }); !errors.Is(err, context.Canceled) || waited != 1 {
		t.Errorf("the second fails with %v after waiting %d times", err, waited)
	}
	release()
	release, err = Lock(context.Background(), path, func() { t.Error("a free lock waits") })
	if err != nil {
		t.Fatal(err)
	}
	release()
}
