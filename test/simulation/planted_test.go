package simulation

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// planted is a rule of the workers' own code that a second build leaves out where BUG, in what stands there instead, is
// true.
type planted struct {
	file, rule, instead string
	want                string // the invariant whose violation is seen, or several, with | between
}

func plantedBugs() map[string]planted {
	const fold, member = "worker/cluster/fold/", "worker/cluster/member/"
	const stores, replica, track = "worker/store/storefold/", "worker/keyedlog/replica/", "worker/task/track/"
	const queues = "worker/task/queues/"
	return map[string]planted{
		"a gate that is not checked": {member + "ownership.go",
			"	return m.lease.Left(now), true", "	if BUG {\n		return 1 << 40, true\n	}\n	return m.lease.Left(now), true", "C2"},
		"a claim below the epoch floor": {fold + "claim.go",
			"a.Epoch < f.floors[a.Connector]", "!BUG && a.Epoch < f.floors[a.Connector]", "C3"},
		"a release that ignores the generation": {fold + "claim.go",
			"o.Session == session && o.Generation == h.Generation", "o.Session == session && (BUG || o.Generation == h.Generation)", "C2"},
		"a sequence that is not checked": {fold + "fold.go",
			"r.Sequence <= s.Sequence", "!BUG && r.Sequence <= s.Sequence", "C1"},
		"a snapshot that forgets a session": {fold + "snapshot.go",
			"range im.Sessions {", "range im.Sessions[map[bool]int{true: min(1, len(im.Sessions))}[BUG]:] {", "C1"},
		"a worker that most others contradict and that goes on": {member + "agreement.go",
			"disagree <= agree+1", "BUG || disagree <= agree+1", "C1"},
		"a unit that is shown as failed though it was opened": {
			"worker/schedule/book/book.go",
			"		h.Opened, h.Problem, h.Retry.Next = true, \"\", time.Time{}\n",
			"		h.Opened, h.Retry.Next = true, time.Time{}\n		if !BUG {\n			h.Problem = \"\"\n		}\n",
			"STATUS",
		},
		"a position that is stored before the ack": {track + "tracker.go",
			"n < len(s.entries) && s.entries[n].settled", "n < len(s.entries) && (BUG || s.entries[n].settled)", "P1"},
		"an offset that is stored before the flush": {track + "puts.go",
			"	p.put[partition] = upTo\n", "	p.put[partition] = upTo\n	if BUG {\n		p.durable[partition] = upTo\n	}\n", "P2"},
		"a lease that ends with the put": {track + "puts.go",
			"Covered() bool { return p.open }", "Covered() bool { return !BUG && p.open }", "C2"},
		"a flush that does not ask the sink": {track + "puts.go",
			"	p.flushed = now\n	return p.open", "	p.flushed = now\n	return !BUG && p.open", "P2"},
		"a fence that is skipped": {stores + "progress.go",
			"v.stamp.compare(fence.stamp) < 0", "!BUG && v.stamp.compare(fence.stamp) < 0", "P3"},
		"a refused write that costs the newest value its place": {replica + "replica.go",
			"case Refused, Malformed:", "case Refused, Malformed:\n		if BUG {\n			break\n		}", "P3|C4|ERASED"},
		"an erased task set that is left in the topic": {replica + "replica.go",
			"	r.shadeHidden(now)\n	if len(r.shadows) == 0 {", "	if !BUG {\n		r.shadeHidden(now)\n	}\n	if len(r.shadows) == 0 {", "ERASED"},
		"a task set of a deleted connector that comes late and is taken": {stores + "configs.go",
			"case !v.erased() && f.over(v):", "case !BUG && !v.erased() && f.over(v):", "ERASED"},
		"a task set that is erased while its epoch lasts": {stores + "erase.go",
			"v.Epoch < c.Epoch ||", "(BUG || v.Epoch < c.Epoch) ||", "P4"},
		"a record of another log that is not void": {
			fold + "history.go",
			"i >= int64(len(h.prints)) || h.prints[i].String() != r.Log",
			"!BUG && (i >= int64(len(h.prints)) || h.prints[i].String() != r.Log)",
			"C4",
		},
		"a snapshot of another log that is believed": {fold + "snapshots.go",
			"f != nil && s.confirmed(f, c.at, worker)", "f != nil && (BUG || s.confirmed(f, c.at, worker))", "C4"},
		"a share that gives up the queues of a broker that is away": {queues + "seen.go",
			"		default:\n			s.queues[q] = false", "		case BUG:\n			delete(s.queues, q)\n		default:\n			s.queues[q] = false", "QUEUES"},
		"a queue that is given up and taken by nobody": {queues + "share.go", "	s.waiting[q]++", "	if !BUG {\n		s.waiting[q]++\n	}", "QUEUES"},
		"a binding that is sorted again as it grows": {
			queues + "binding.go",
			"	return Binding{order: b.order, steps",
			"	if BUG && len(b.row) > 0 {\n		return Bind(b.order, slices.Concat(b.row, fresh)), true\n	}\n	return Binding{order: b.order, steps",
			"ORDER",
		},
	}
}

// Each rule is left out once. The simulation must notice: it checks what the workers do, not how. Without a bug the
// second build must be sound: what is noticed is not the way of planting.
func TestSimulationFindsPlantedBugs(t *testing.T) {
	if os.Getenv("SIM_SEEDS") != "" {
		t.Skip("this is the second build itself, or a run of other seeds")
	}
	bugs := plantedBugs()
	binary := buildPlanted(t, bugs)
	run := func(t *testing.T, name string, seeds int) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, "-test.run", "^TestSimulation$")
		cmd.Env = append(os.Environ(), fmt.Sprint("SIM_SEEDS=", seeds), "SIM_PLANT="+name)
		out, err := cmd.CombinedOutput()
		return fmt.Sprintf("%s%v", out, err)
	}
	t.Run("no bug at all", func(t *testing.T) {
		if out := run(t, "", 20); strings.Contains(out, "VIOLATION") {
			t.Error(out)
		}
	})
	for name, bug := range bugs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out := run(t, name, plantSeeds); !regexp.MustCompile("VIOLATION (" + bug.want + ")").MatchString(out) {
				t.Errorf("was not found in %d seeds, want a violation of %s:\n%s", plantSeeds, bug.want, out)
			}
		})
	}
}

// buildPlanted builds this very package over the workers' code with all the bugs in it, each behind its name.
func buildPlanted(t *testing.T, bugs map[string]planted) string {
	t.Helper()
	dir, sources := t.TempDir(), map[string][]byte{}
	for name, bug := range bugs {
		path, err := filepath.Abs(filepath.Join("..", "..", bug.file))
		if err != nil {
			t.Fatal(err)
		}
		if sources[path] == nil {
			if sources[path], err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
			addSwitch(t, path, sources)
		}
		if n := bytes.Count(sources[path], []byte(bug.rule)); n != 1 {
			t.Fatalf("%s holds %q %d times, want once", bug.file, bug.rule, n)
		}
		instead := strings.ReplaceAll(bug.instead, "BUG", fmt.Sprintf("planted(%q)", name))
		sources[path] = bytes.Replace(sources[path], []byte(bug.rule), []byte(instead), 1)
	}
	replaced := map[string]string{}
	for path, source := range sources {
		replaced[path] = filepath.Join(dir, fmt.Sprint(len(replaced), ".go"))
		write(t, replaced[path], source)
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "overlay.json"), overlay)
	binary := filepath.Join(dir, "planted.test")
	cmd := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, "-overlay", filepath.Join(dir, "overlay.json"), ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building with planted bugs: %v\n%s", err, out)
	}
	return binary
}

// addSwitch adds the file to a source's package that says which bug is there.
func addSwitch(t *testing.T, path string, sources map[string][]byte) {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	sources[filepath.Join(filepath.Dir(path), "planted.go")] = fmt.Appendf(nil, `package %s

import "os"

var plantedBug = os.Getenv("SIM_PLANT")

func planted(name string) bool { return plantedBug == name }
`, parsed.Name.Name)
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
