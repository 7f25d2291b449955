package schedule

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/task"
)

// secretWorld is a world with mounted secrets, which notes what attempts are configured with.
type secretWorld struct {
	*world
	notes sync.Mutex          // guards what follows
	got   map[string][]string // logins, by unit
	fail  func(a task.Attempt) error
	out   *strings.Builder // the log
}

func newSecretWorld(t *testing.T, secrets ...string) *secretWorld {
	w := &secretWorld{world: newWorld(t), got: map[string][]string{}, out: &strings.Builder{}}
	w.log = funcr.New(func(_, args string) { w.notes.Lock(); defer w.notes.Unlock(); fmt.Fprintln(w.out, args) }, funcr.Options{})
	w.secrets = t.TempDir()
	w.script = func(a task.Attempt) error {
		w.notes.Lock()
		u := Unit{Connector: a.ID.Connector, Task: a.ID.Task}.String()
		w.got[u] = append(w.got[u], a.Config["login"])
		fail := w.fail
		w.notes.Unlock()
		if fail != nil {
			return fail(a)
		}
		return nil
	}
	for i := 0; i < len(secrets); i += 2 {
		w.write(secrets[i], secrets[i+1])
	}
	return w
}

// write puts a key into the secret db.
func (w *secretWorld) write(key, value string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Join(w.secrets, "db"), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.secrets, "db", key), []byte(value), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *secretWorld) logins() map[string][]string {
	w.notes.Lock()
	defer w.notes.Unlock()
	return maps.Clone(w.got)
}

func (w *secretWorld) lines() string {
	w.notes.Lock()
	defer w.notes.Unlock()
	return w.out.String()
}

func (w *secretWorld) stored(name string) store.Connector {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.configs[name]
}

func TestAttemptsGetValuesAndStoresReferences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSecretWorld(t, "password", "hunter2\n")
		w.configure("c", 2, "login", "${secret:db:password}")
		w1 := w.join("w1")
		after(time.Second)
		wantRunning(t, w.world, "c-0", "c-1")
		if diff := cmp.Diff(map[string][]string{"c-0": {"hunter2"}, "c-1": {"hunter2"}}, w.logins()); diff != "" {
			t.Errorf("logins of attempts (-want +got):\n%s", diff)
		}
		want := []map[string]string{{"index": "0", "login": "${secret:db:password}"}, {"index": "1", "login": "${secret:db:password}"}}
		if diff := cmp.Diff(want, w.stored("c").Tasks); diff != "" {
			t.Errorf("stored tasks (-want +got):\n%s", diff)
		}
		leaveAll(t, w1)
	})
}

func TestWhatAReferenceStandsForIsInNoText(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSecretWorld(t, "password", "hunter2")
		w.fail = func(a task.Attempt) error {
			a.Warn("going on with " + a.Config["login"])
			a.Waiting(errors.New("waiting for " + a.Config["login"]))
			if a.ID.Task == 1 {
				panic("got " + a.Config["login"])
			}
			return errors.New("refused " + a.Config["login"])
		}
		w.configure("c", 2, "login", "${secret:db:password}")
		w.configure("leak", 1, "login", "${secret:db:password}", "leak", "yes")
		w1 := w.join("w1")
		after(5 * time.Second)
		for u, want := range map[Unit]string{
			{Connector: "c", Task: 0}: "Failed on w1: refused ********", {Connector: "c", Task: 1}: "Failed on w1: class Fake: panic: got ********",
			{Connector: "leak", Task: -1}: "Failed on w1: dividing the connector into tasks: leak of a task would be stored with what a reference",
		} {
			if got := w.status(u.Connector, u.Task); !strings.HasPrefix(got, want) {
				t.Errorf("status of %s %q, want %q", u, got, want)
			}
		}
		if w.stored("leak").Tasks != nil {
			t.Error("a value was stored")
		}
		if lines := w.lines(); strings.Contains(lines, "hunter2") || !strings.Contains(lines, "refused ********") {
			t.Errorf("the log shows the value, or nothing:\n%s", lines)
		}
		leaveAll(t, w1)
	})
}

func TestATaskWaitsForASecretThatIsMissing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSecretWorld(t)
		w.configure("c", 1, "login", "${secret:db:password}")
		w1 := w.join("w1")
		after(250 * time.Second) // the pauses between attempts are longest now, and the next one has just begun
		want := "Failed on w1: connector c: login refers to ${secret:db:password}: the file does not exist: make " + w.secrets + "/db/password"
		if got := w.status("c", -1); !strings.HasPrefix(got, want) {
			t.Errorf("status %q, want %q", got, want)
		}
		w.write("password", "hunter2")
		after(3 * secretsInterval)
		wantRunning(t, w.world, "c-0")
		if got := w.status("c", -1) + w.status("c", 0); got != "Running on w1: Running on w1: " {
			t.Errorf("status %q", got)
		}
		if err := os.Remove(filepath.Join(w.secrets, "db", "password")); err != nil {
			t.Fatal(err)
		}
		after(time.Minute) // what runs has it already
		wantRunning(t, w.world, "c-0")
		if diff := cmp.Diff(map[string][]string{"c-0": {"hunter2"}}, w.logins()); diff != "" {
			t.Errorf("logins of attempts (-want +got):\n%s", diff)
		}
		leaveAll(t, w1)
	})
}

func TestAChangeRestartsWhatUsesItOneTaskAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSecretWorld(t, "password", "old", "other", "other")
		w.configure("a", 3, "login", "${secret:db:password}")
		w.configure("b", 2, "login", "${secret:db:other}")
		w.configure("c", 2, "login", "plain")
		w1 := w.join("w1")
		after(time.Second)
		w.mu.Lock()
		for i := range 3 {
			w.drains[Unit{Connector: "a", Task: i}] = 7 * time.Second
		}
		w.mu.Unlock()
		w.took()
		w.write("password", "new")
		after(time.Minute)
		want := []string{"w1 stops a-0", "w1 starts a-0", "w1 stops a-1", "w1 starts a-1", "w1 stops a-2", "w1 starts a-2"}
		if diff := cmp.Diff(want, w.took()); diff != "" {
			t.Errorf("trace (-want +got):\n%s", diff)
		}
		both := []string{"old", "new"}
		wantLogins := map[string][]string{
			"a-0": both,
			"a-1": both,
			"a-2": both,
			"b-0": {"other"},
			"b-1": {"other"},
			"c-0": {"plain"},
			"c-1": {"plain"},
		}
		if diff := cmp.Diff(wantLogins, w.logins()); diff != "" {
			t.Errorf("logins of attempts (-want +got):\n%s", diff)
		}
		after(10 * time.Minute) // nothing comes after it
		if diff := cmp.Diff([]string(nil), w.took()); diff != "" {
			t.Errorf("trace (-want +got):\n%s", diff)
		}
		if lines := w.lines(); strings.Count(lines, "for a secret that it refers to has changed") != 3 ||
			!strings.Contains(lines, `"references"="${secret:db:password}"`) {
			t.Errorf("log:\n%s", lines)
		}
		w.mu.Lock()
		w.drains = map[Unit]time.Duration{}
		w.mu.Unlock()
		leaveAll(t, w1)
	})
}

func TestATaskThatFailsWithWhatHasChangedHoldsNoOtherUp(t *testing.T) {
	ends := map[string]error{"it fails": errors.New("refused"), "it has no more records": connector.ErrEndOfSource}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSecretWorld(t, "password", "old")
				w.fail = func(a task.Attempt) error {
					if a.ID.Task == 0 && a.Config["login"] == "new" {
						return end
					}
					return nil
				}
				w.configure("c", 2, "login", "${secret:db:password}")
				w1 := w.join("w1")
				after(time.Second)
				w.write("password", "new")
				after(3 * secretsInterval)
				if diff := cmp.Diff([]string{"old", "new"}, w.logins()["c-1"]); diff != "" {
					t.Errorf("logins of the other task (-want +got):\n%s", diff)
				}
				leaveAll(t, w1)
			})
		})
	}
}

// A task that is to be restarted is paused meanwhile.
func TestATaskThatDoesNotComeBackHoldsNoOtherUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSecretWorld(t, "password", "old")
		w.configure("a", 2, "login", "${secret:db:password}")
		w.configure("b", 2, "login", "${secret:db:password}")
		w1 := w.join("w1")
		after(time.Second)
		w.mu.Lock()
		w.drains[Unit{Connector: "a", Task: 0}] = 20 * time.Second
		w.mu.Unlock()
		w.write("password", "new")
		after(10 * time.Second) // a-0 drains
		w.mu.Lock()
		c := w.configs["a"]
		w.mu.Unlock()
		w.change(func() { c.State = states.WantPaused; w.configs["a"] = c })
		after(30 * time.Second)
		if got := w.logins(); got["b-0"][len(got["b-0"])-1] != "new" || got["b-1"][len(got["b-1"])-1] != "new" || len(got["a-0"]) != 1 {
			t.Errorf("logins of attempts %v", got)
		}
		wantRunning(t, w.world, "b-0", "b-1")
		leaveAll(t, w1)
	})
}

// A wrong password that is corrected need not wait for the end of a back-off.
func TestACorrectedSecretEndsTheWaitOfWhatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newSecretWorld(t, "password", "wrong")
		w.fail = func(a task.Attempt) error {
			if a.Config["login"] == "wrong" {
				return errors.New("credentials refused")
			}
			return nil
		}
		w.configure("c", 1, "login", "${secret:db:password}")
		w1 := w.join("w1")
		after(250 * time.Second) // a pause of a minute has just begun
		w.write("password", "right")
		after(3 * secretsInterval)
		if got := w.status("c", 0); got != "Running on w1: " {
			t.Errorf("status %q", got)
		}
		leaveAll(t, w1)
	})
}

func TestWhatMayNotBeInAConfigFailsWithItsName(t *testing.T) {
	cases := map[string]struct {
		only     bool
		settings []string
		want     string // of the status; empty: it runs
		log      string
	}{
		"a secret in the clear is told of": {false, []string{"login", "hunter2"}, "", `"settings"="login"`},
		"a secret in the clear where only references may be": {true, []string{"login", "hunter2", "pin", "4711"},
			"connector c: login, pin: a secret in the clear is refused by workers with config.secrets=reference-only: write a reference", ""},
		"a reference where only references may be": {true, []string{"login", "${secret:db:password}", "kafka.bootstrap.server", "x"}, "", ""},
		"a reference in what workers store": {
			false,
			[]string{"topic.rename.format", "${secret:db:password}"},
			"connector c: topic.rename.format refers to ${secret:db:password}: workers store and show",
			"",
		},
		"a reference in the names of topics": {
			false,
			[]string{"topics", "${secret:db:password}"},
			"connector c: topics refers to ${secret:db:password}",
			"",
		},
		"a reference that is not allowed": {
			false,
			[]string{"login", "${env:HOME}"},
			"connector c: login refers to ${env:HOME}: this worker gives connectors no such variable",
			"",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newSecretWorld(t, "password", "hunter2")
				w.referencesOnly = tc.only
				w.configure("c", 1, tc.settings...)
				w1 := w.join("w1")
				after(time.Second)
				want := "Running on w1: "
				if tc.want != "" {
					want = "Failed on w1: " + tc.want
				}
				if got := w.status("c", -1); !strings.HasPrefix(got, want) {
					t.Errorf("status %q, want %q", got, want)
				}
				if lines := w.lines(); strings.Contains(lines, "hunter2") || !strings.Contains(lines, tc.log) ||
					tc.log == "" && strings.Contains(lines, "in the clear: ") {
					t.Errorf("log:\n%s", lines)
				}
				leaveAll(t, w1)
			})
		})
	}
}
