package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/config"
)

func TestRunBeforeTheWorkerStarts(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cases := map[string]struct {
		args     []string
		wantCode int
		wantOut  string // a part of standard output
		wantErr  []string
	}{
		"the version":           {[]string{"-version"}, 0, version(), nil},
		"no file":               {nil, exitInvalid, "", []string{"usage: worker -c connect.conf"}},
		"an unknown flag":       {[]string{"-x"}, exitInvalid, "", []string{"-x", "Usage of worker"}},
		"more than a file":      {[]string{"-c", "a", "b"}, exitInvalid, "", []string{"usage:"}},
		"a file that is absent": {[]string{"-c", filepath.Join(dir, "none")}, exitInvalid, "", []string{"none cannot be used", "no such file"}},
		"a file with wrong lines": {[]string{"-c", file("lines", "httpPort=x\nnonsense")}, exitInvalid, "",
			[]string{"lines cannot be used:", "\n  line 1: httpPort must be", "\n  line 2: "}},
		"a file with wrong values": {[]string{"-c", file("values", "httpPort=0")}, exitInvalid, "",
			[]string{"\n  namesrvAddr is required", "\n  httpPort must be"}},
		"a token file that is absent": {
			[]string{"-c", file("token", "namesrvAddr=127.0.0.1:1\nrestTokenFile=/none\nstorePathRootDir="+dir)},
			exitFailed,
			"",
			[]string{"worker: setting up REST: reading restTokenFile", "/none"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NAMESRV_ADDR", "")
			var out, errOut bytes.Buffer
			if code := run(tc.args, &out, &errOut); code != tc.wantCode || !strings.Contains(out.String(), tc.wantOut) {
				t.Errorf("exit code %d, standard output %q", code, &out)
			}
			for _, want := range tc.wantErr {
				if !strings.Contains(errOut.String(), want) {
					t.Errorf("standard error %q has no %q", &errOut, want)
				}
			}
		})
	}
}

func TestLoggers(t *testing.T) {
	for _, format := range []string{"json", "console"} {
		cfg := config.Default()
		cfg.LogFormat = format
		log, audit, flush, err := loggers(cfg)
		if err != nil || !log.Enabled() || log.V(1).Enabled() || !audit.Enabled() {
			t.Errorf("%s: %v", format, err)
		}
		flush()
	}
	quiet := config.Default()
	quiet.LogLevel = "error"
	if log, audit, _, err := loggers(quiet); err != nil || log.Enabled() || !audit.Enabled() {
		t.Errorf("at level error the audit lines are left out, or other lines are not: %v", err)
	}
	cfg := config.Default()
	cfg.LogLevel = "loud"
	if _, _, _, err := loggers(cfg); err == nil {
		t.Error("an unknown level is no error")
	}
}
