package process

import (
	"os/exec"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long something may take that takes far less on an idle machine.
const patience = time.Minute

func TestParseMemory(t *testing.T) {
	const status = "Name:\tworker\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n"
	if got, err := parseMemory(status, "VmHWM"); got != 20<<20 || err != nil {
		t.Errorf("peak: %d, %v", got, err)
	}
	if got, err := parseMemory(status, "VmRSS"); got != 10<<20 || err != nil {
		t.Errorf("now: %d, %v", got, err)
	}
	if _, err := parseMemory(status, "VmSwap"); err == nil {
		t.Error("no error for a field that is not there")
	}
}

func TestAChildIsStoppedOrKilled(t *testing.T) {
	cases := map[string]struct {
		script  string
		wantErr bool
	}{
		"it ends when it is asked to": {"trap 'exit 3' TERM; echo; while :; do sleep 0.01; done", false},
		"it does not":                 {"trap '' TERM; echo; while :; do sleep 0.01; done", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command("sh", "-c", tc.script)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			child, err := Launch(cmd)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := out.Read(make([]byte, 1)); err != nil || child.Ended() { // it has set its trap
				t.Fatalf("the child does not run: %v", err)
			}
			within := patience
			if tc.wantErr {
				within = 0
			}
			if err := child.Stop(within); (err != nil) != tc.wantErr {
				t.Errorf("stopping it: %v", err)
			}
			if code := child.ExitCode(); !child.Ended() || !tc.wantErr && code != 3 || tc.wantErr && code != -1 {
				t.Errorf("it ended with %s", child.State())
			}
		})
	}
}
