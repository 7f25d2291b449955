//go:build model

// Package model checks the rules of sessions and ownership, written down in ownership.pml, with spin.
package model

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// check searches the model built with the defines, and returns what the search printed.
func check(t *testing.T, defines ...string) string {
	t.Helper()
	dir := t.TempDir()
	source, err := os.ReadFile("ownership.pml")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "ownership.pml"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	run("spin", append(defines, "-a", "ownership.pml")...)
	run("gcc", "-O1", "-DSAFETY", "-DHC4", "-DMEMLIM=1500", "-o", "pan", "pan.c") // hash-compact: 4 bytes beyond the table's index
	return run(filepath.Join(dir, "pan"), "-m100000")
}

// summary is the search's own lines that say how far it came.
func summary(out string) string {
	var lines []string
	for line := range strings.SplitSeq(out, "\n") {
		for _, part := range []string{"errors:", "states, stored", "assertion violated", "elapsed", "not completed", "too small"} {
			if strings.Contains(line, part) {
				lines = append(lines, strings.TrimSpace(line))
				break
			}
		}
	}
	return strings.Join(lines, "; ")
}

func TestTheRulesHold(t *testing.T) {
	cases := map[string][]string{
		"a takeover":                 {"-DRECORDS=4", "-DRESTARTS=0"},
		"restarts":                   {"-DRECORDS=3", "-DRESTARTS=1"},
		"late records":               {"-DRECORDS=2", "-DRESTARTS=0", "-DFLIGHTS=2"},
		"two units and a new config": {"-DRECORDS=2", "-DRESTARTS=0", "-DUNITS=2", "-DEPOCHS=2"},
		"an earlier log":             {"-DRECORDS=2", "-DRESTARTS=0", "-DEARLIER=20"},
		"three workers":              {"-DRECORDS=2", "-DRESTARTS=0", "-DWORKERS=3"},
	}
	for name, defines := range cases {
		t.Run(name, func(t *testing.T) {
			out := check(t, defines...)
			if !strings.Contains(out, "errors: 0") || strings.Contains(out, "not completed") || strings.Contains(out, "too small") {
				t.Errorf("the search found an error or did not come to its end:\n%s", out)
			}
			t.Log(summary(out))
		})
	}
}

func TestARuleTakenOutIsFound(t *testing.T) {
	cases := map[string]struct {
		rule    string
		defines []string
	}{
		"a lease longer than the session":                  {"LEASE_IS_LONGER_THAN_THE_SESSION", nil},
		"a gate that is not checked":                       {"GATE_IS_NOT_CHECKED", nil},
		"an expire that names an older heartbeat":          {"EXPIRE_NEEDS_NOT_THE_NEWEST_HEARTBEAT", nil},
		"a released generation that runs again":            {"RELEASED_GENERATIONS_RUN_AGAIN", nil},
		"a release that ignores the generation":            {"RELEASE_IGNORES_THE_GENERATION", nil},
		"an expired session that keeps its units":          {"EXPIRED_SESSIONS_KEEP_THEIR_UNITS", nil},
		"a sequence that is not checked":                   {"SEQUENCE_IS_NOT_CHECKED", []string{"-DFLIGHTS=2"}},
		"a generation that goes back after an earlier log": {"GENERATIONS_FORGET_THEIR_TOP", []string{"-DEARLIER=20"}},
		"a claim beside units of another epoch":            {"CLAIMS_BESIDE_ANOTHER_EPOCH", []string{"-DUNITS=2", "-DEPOCHS=2"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out := check(t, append([]string{"-DRECORDS=4", "-D" + tc.rule}, tc.defines...)...)
			if !strings.Contains(out, "assertion violated") {
				t.Errorf("nothing was found without the rule:\n%s", out)
			}
			t.Log(summary(out))
		})
	}
}
