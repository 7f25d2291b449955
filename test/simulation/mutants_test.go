package simulation

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Each rule of the fold is taken out once, by building this very package over a fold without it. The simulation must
// notice: it checks what the fold does, not how.
func TestSimulationFindsRulesThatTheFoldForgets(t *testing.T) {
	if os.Getenv("SIM_SEEDS") != "" || testing.Short() {
		t.Skip("is for the default seeds: each rule is a build of its own")
	}
	cases := map[string]struct {
		file, rule, instead, want string
	}{
		"a claim below the epoch floor": {"claim.go", "a.Epoch < f.floors[a.Connector]", "a.Epoch < 0", "C3"},
		"a release that ignores the generation": {"claim.go", "o.Session == session && o.Generation == h.Generation",
			"o.Session == session", "C2"},
		"a sequence that is not checked":             {"fold.go", "r.Sequence <= s.Sequence", "r.Sequence < 0", "C1"},
		"a snapshot that forgets a session":          {"snapshot.go", "range im.Sessions {", "range im.Sessions[min(1, len(im.Sessions)):] {", "C1"},
		"a record of another log that is not void":   {"history.go", "i >= int64(len(h.prints)) || h.prints[i].String() != r.Log", "i < 0", "C4"},
		"a snapshot of another log that is believed": {"snapshots.go", "err == nil && s.confirmed(f, c.at)", "err == nil && f != nil", "C4"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := runMutant(t, tc.file, tc.rule, tc.instead)
			found := strings.Contains(out, "--- FAIL: TestSimulation") && strings.Contains(out, "VIOLATION "+tc.want)
			if !found {
				t.Errorf("was not found, want a violation of %s:\n%s", tc.want, out)
			}
		})
	}
}

// runMutant runs the simulation over the fold with one rule replaced, and returns what it printed.
func runMutant(t *testing.T, file, rule, instead string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("..", "fold", file))
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(source, []byte(rule)); n != 1 {
		t.Fatalf("%s holds %q %d times, want once", file, rule, n)
	}
	dir := t.TempDir()
	mutant, overlay := filepath.Join(dir, file), filepath.Join(dir, "overlay.json")
	replaced, err := json.Marshal(map[string]map[string]string{"Replace": {path: mutant}})
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{mutant: bytes.Replace(source, []byte(rule), []byte(instead), 1), overlay: replaced} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-run", "^TestSimulation$", "-failfast", ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "SIM_SEEDS=100")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return "the simulation passed: " + string(out)
	}
	return string(out)
}
