package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

func testFolder(t *testing.T) Folder {
	t.Helper()
	dir := t.TempDir()
	f := Folder{Records: filepath.Join(dir, "records"), Logs: filepath.Join(dir, "logs")}
	t.Cleanup(func() {
		if err := f.Stop(context.Background(), "p"); err != nil {
			t.Error(err)
		}
	})
	return f
}

func shell(script string) Spec {
	return Spec{Name: "p", Path: "sh", Args: []string{"-c", script}, Grace: 5 * time.Second, Limit: time.Minute}
}

func TestAProcessIsStartedOnceAndStopped(t *testing.T) {
	f, ctx := testFolder(t), context.Background()
	conf := filepath.Join(t.TempDir(), "conf")
	if err := os.WriteFile(conf, []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := shell("exec sleep 1000")
	s.Files = []string{conf}
	start := func(why string, want Outcome) Record {
		t.Helper()
		got, err := f.Start(ctx, s)
		if err != nil || got != want {
			t.Fatalf("%s: outcome %d (%v), want %d", why, got, err, want)
		}
		r, ok := f.Running("p")
		if !ok {
			t.Fatalf("%s: it does not run", why)
		}
		return r
	}
	first := start("at first", Started)
	if again := start("again", Kept); again.PID != first.PID {
		t.Error("a second start has changed the process")
	}
	if err := os.WriteFile(conf, []byte("2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if next := start("with another configuration", Restarted); next.PID == first.PID {
		t.Error("a changed configuration has not changed the process")
	}
	if err := f.Stop(ctx, "p"); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Running("p"); ok {
		t.Error("it runs after Stop")
	}
	if err := f.Stop(ctx, "p"); err != nil {
		t.Errorf("stopping it twice: %v", err)
	}
}

func TestAProcessThatIgnoresTheSignalIsKilled(t *testing.T) {
	f, ctx := testFolder(t), context.Background()
	s := shell(`trap "" TERM; echo ready; while :; do sleep 1; done`)
	s.Grace = 300 * time.Millisecond
	s.Ready = func(context.Context) error {
		if b, err := os.ReadFile(f.Log("p")); err != nil || !strings.Contains(string(b), "ready") {
			return errors.New("not ready")
		}
		return nil
	}
	if err := f.Up(ctx, s, step.NewReporter(io.Discard)); err != nil {
		t.Fatal(err)
	}
	if err := f.Stop(ctx, "p"); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Running("p"); ok {
		t.Error("it runs after Stop")
	}
}

func TestAProcessOfSomebodyElseIsLeftAlone(t *testing.T) {
	f := testFolder(t)
	other := exec.Command("sleep", "1000")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Process.Kill(); _ = other.Wait() })
	id, err := identify(other.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	id.Start++ // the record's process had the same id, but started at another time
	if err := os.MkdirAll(f.Records, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := writeRecord(f.record("p"), Record{Name: "p", PID: other.Process.Pid, identity: id}); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.Running("p"); ok {
		t.Error("another process with the id counts as running")
	}
	if err := f.Stop(context.Background(), "p"); err != nil {
		t.Fatal(err)
	}
	if _, err := identify(other.Process.Pid); err != nil {
		t.Error("Stop has ended a process that the record does not mean")
	}
}

func TestAProcessThatEndsEarlyShowsItsLastWords(t *testing.T) {
	f := testFolder(t)
	s := shell("echo cannot find my files >&2; exit 3")
	s.Ready = func(context.Context) error { return errors.New("not ready") }
	err := f.Up(context.Background(), s, step.NewReporter(io.Discard))
	if err == nil || !strings.Contains(err.Error(), "cannot find my files") {
		t.Errorf("Up fails with %v, want the process's last words", err)
	}
}

func TestATakenPortNamesItsHolder(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	err = CheckPorts([]Port{{Part: "kafka", Host: "127.0.0.1", Port: port}})
	if err == nil || !strings.Contains(err.Error(), "kafka") || !strings.Contains(err.Error(), "daemon.test") {
		t.Errorf("CheckPorts fails with %v, want the part and the holder", err)
	}
	l.Close()
	if err := CheckPorts([]Port{{Part: "kafka", Host: "127.0.0.1", Port: port}}); err != nil {
		t.Errorf("a free port: %v", err)
	}
}

// A process of this test's own program whose first thread ends while another still listens, as a killed JVM's do.
const lastThread = "STACK_TEST_LAST_THREAD"

func init() {
	if os.Getenv(lastThread) != "" {
		runtime.LockOSThread() // main stays on the first thread
	}
}

func TestMain(m *testing.M) {
	if os.Getenv(lastThread) == "" {
		os.Exit(m.Run())
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		os.Exit(1)
	}
	go func() {
		fmt.Println(l.Addr().(*net.TCPAddr).Port)
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test closes it
		os.Exit(0)
	}()
	_, _, _ = syscall.RawSyscall(syscall.SYS_EXIT, 0, 0, 0)
}

func TestPortsOfAKilledProcessAreFreeWhenItsLastThreadHasEnded(t *testing.T) {
	f := testFolder(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), lastThread+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); _ = cmd.Wait() })
	id, err := identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	var port int
	if _, err := fmt.Fscan(out, &port); err != nil {
		t.Fatal(err)
	}
	gone := func(context.Context) (bool, error) {
		return ending(cmd.Process.Pid, id), errors.New("its first thread runs")
	}
	if err := step.Until(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.MkdirAll(f.Records, 0o755),
		writeRecord(f.record("p"), Record{Name: "p", PID: cmd.Process.Pid, identity: id}),
	); err != nil {
		t.Fatal(err)
	}
	if _, running := f.Running("p"); running {
		t.Error("it counts as running")
	}
	time.AfterFunc(300*time.Millisecond, func() { in.Close() })
	ports := func(string) []Port { return []Port{{Part: "p", Host: "127.0.0.1", Port: port}} }
	if err := f.CheckPorts(t.Context(), []string{"p"}, ports); err != nil {
		t.Errorf("CheckPorts fails with %v while the last thread ends", err)
	}
}

func TestParseStat(t *testing.T) {
	const rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20 21"
	for _, name := range []string{"(java)", "(a b) c)", "(()"} {
		state, start, err := parseStat([]byte("12 " + name + rest))
		if err != nil || state != 'S' || start != 4242 {
			t.Errorf("%s: state %c, start %d (%v), want S and 4242", name, state, start, err)
		}
	}
	for _, bad := range []string{"", "12 (x) S 1", "12 x S"} {
		if _, _, err := parseStat([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestInodesOf(t *testing.T) {
	const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:2694 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0000000000000000 100 0 0 10 0
   1: 0100007F:2695 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 778 1 0000000000000000 100 0 0 10 0
   2: 0100007F:2695 0100007F:9000 01 00000000:00000000 00:00000000 00000000     0        0 779 1 0000000000000000 100 0 0 10 0
`
	if got := inodesOf(table, 9876, ""); len(got) != 1 || got[0] != "777" {
		t.Errorf("sockets at 9876 are %v, want 777", got)
	}
	if got := inodesOf(table, 9877, established); len(got) != 1 || got[0] != "779" {
		t.Errorf("connections at 9877 are %v, want 779", got)
	}
	if got := inodesOf(table, 1, ""); len(got) != 0 {
		t.Errorf("sockets at 1 are %v", got)
	}
}
