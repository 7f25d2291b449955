//go:build integration

package integration

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func contains(text string, all ...string) bool {
	for _, part := range all {
		if !strings.Contains(text, part) {
			return false
		}
	}
	return true
}

func badBody() io.Reader { return strings.NewReader(`{"name":"n","klass":"KafkaSource","config":{}}`) }

func TestAnInvalidConfigurationNamesEveryProblem(t *testing.T) {
	path := filepath.Join(t.TempDir(), "connect.conf")
	cases := map[string]struct {
		text string
		want []string
	}{
		"lines that cannot be read": {
			"httpPort=x\nnamesrvAddr",
			[]string{`line 1: httpPort must be a whole number, not "x"`, `line 2: "namesrvAddr" is not of the form key=value`},
		},
		"values that cannot be used": {
			"httpPort=0\nsessionTimeout=1ms",
			[]string{"namesrvAddr is required", "httpPort must be from 1 to 65535, not 0", "sessionTimeout must be from 1s"},
		},
		"access control without keys": {
			"namesrvAddr=a:1\naclEnable=true",
			[]string{"accessKey is required with aclEnable=true", "secretKey is required"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			p := start(t, 0, path)
			if code := p.exit(); code != 2 || !contains(p.errOut.String(), append(tc.want, path)...) {
				t.Errorf("exit code %d: %s", code, p.errOut)
			}
		})
	}
	t.Run("no file", func(t *testing.T) {
		p := start(t, 0, filepath.Join(t.TempDir(), "none.conf"))
		if code := p.exit(); code != 2 || !contains(p.errOut.String(), "none.conf", "no such file") {
			t.Errorf("exit code %d: %s", code, p.errOut)
		}
	})
	t.Run("no flag", func(t *testing.T) {
		out, err := exec.CommandContext(t.Context(), workerBinary(t)).CombinedOutput()
		if err == nil || !contains(string(out), "usage: worker -c connect.conf") {
			t.Errorf("got %v: %s", err, out)
		}
	})
}

func TestTwoWorkersOnOneStoreDirectoryOrPort(t *testing.T) {
	c := newTestCluster(t)
	dir, port := t.TempDir(), freePort(t)
	first := start(t, port, c.conf("W1", port, dir, ""))
	first.booted("W1")

	other := freePort(t)
	second := start(t, other, c.conf("W2", other, dir, ""))
	if code := second.exit(); code != 1 || !contains(second.errOut.String(), dir, "storePathRootDir") {
		t.Errorf("same folder: exit code %d: %s", code, second.errOut)
	}
	third := start(t, port, c.conf("W3", port, t.TempDir(), ""))
	if code := third.exit(); code != 1 ||
		!contains(third.errOut.String(), "httpPort", fmt.Sprint(port), "is another worker running on this port?") {
		t.Errorf("same port: exit code %d: %s", code, third.errOut)
	}
	first.answers("/getClusterInfo", `["W1"]`)
	first.stop()
}

func TestANameServerThatIsDownAtTheStart(t *testing.T) {
	c := newTestCluster(t)
	front := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	c.nameSrv = front
	port := freePort(t)
	w := start(t, port, c.conf("W", port, t.TempDir(), ""))
	eventually(t, func(ctx context.Context) error {
		text, err := w.Get(ctx, "/readyz")
		if err == nil {
			t.Fatalf("the worker is ready without a name server: %s", text)
		}
		if !contains(text, "not ready: RocketMQ cannot be reached", front, "check namesrvAddr") {
			return fmt.Errorf("readyz answers %q, %w", text, err)
		}
		return nil
	})
	if text, err := w.Get(t.Context(), "/healthz"); err != nil {
		t.Errorf("the worker counts as dead: %s %v", text, err)
	}
	if !contains(w.errOut.String(), "Waiting for RocketMQ", front) {
		t.Error("the log does not name the name server")
	}
	forward(t, front, nameServers()[0])
	w.booted("W")
	w.ready()
	w.stop()
}

// forward carries connections to addr on to target until the test ends.
func forward(t *testing.T, addr, target string) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		_ = l.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { join(ctx, in, target) })
		}
	})
}

// join copies both ways until one side ends or ctx does.
func join(ctx context.Context, in net.Conn, target string) {
	defer func() { _ = in.Close() }()
	out, err := (&net.Dialer{}).DialContext(ctx, "tcp", target)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = in.Close(); _ = out.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(out, in); _ = out.Close() })
	wg.Go(func() { _, _ = io.Copy(in, out); _ = in.Close() })
	wg.Wait()
}
