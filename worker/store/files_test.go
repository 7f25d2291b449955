package store

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

func inDir(dir string) func(*Options) {
	return func(o *Options) { o.Dir, o.FlushInterval = dir, time.Second }
}

func (w *worker) logged(part string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Contains(strings.Join(w.logs, "\n"), part)
}

// fill gives a worker's stores one of everything.
func fill(t *testing.T, w *worker) {
	t.Helper()
	w.put(Write{Name: "c", Config: map[string]string{"a": "1"}})
	w.put(Write{Name: "d", Config: map[string]string{"a": "1"}})
	w.put(Write{Name: "d", Delete: true, IfRevision: -1})
	if _, err := w.Configs().PublishTasks(t.Context(), "c", 1, []map[string]string{{"n": "0"}, {"n": "1"}}); err != nil {
		t.Fatal(err)
	}
	writer := w.fence(Fence{Connector: "c", Generation: 5, Epoch: 1, Attempt: 1})
	if err := writer.Write(t.Context(), record.Positions{"p/0": "10", "p/1": "\xff"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Offsets().Reset(t.Context(), "c", record.Positions{"q": "3"}, 1); err != nil {
		t.Fatal(err)
	}
}

func wantFilled(t *testing.T, w *worker) {
	t.Helper()
	got, ok := w.Configs().Get("c")
	if !ok || got.Revision != 1 || len(got.Tasks) != 2 {
		t.Errorf("connector c is %+v", got)
	}
	wantEqual(t, w.Configs().Epoch("d"), int64(2))
	wantEqual(t, w.Positions().Read("c"), record.Positions{"p/0": "10", "p/1": "\xff"})
	wantEqual(t, w.Positions().Newest("c", 0), int64(5))
	wantEqual(t, w.Offsets().Read("c"), record.Positions{"q": "3"})
}

func allFiles() []string { return []string{connectorFile, taskFile, positionFile, offsetFile} }

func TestFilesAreReadableAndPrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "root", "config")
	synctest.Test(t, func(t *testing.T) {
		w := startWorker(t, newBroker(), inDir(dir))
		fill(t, w)
		elapse(2 * time.Second)
		synctest.Wait()
		for _, name := range allFiles() {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			var doc struct {
				Connectors map[string]any `json:"connectors"`
			}
			if err := json.Unmarshal(data, &doc); err != nil || doc.Connectors["c"] == nil {
				t.Errorf("%s does not hold connector c (%v):\n%s", name, err, data)
			}
			info, err := os.Stat(filepath.Join(dir, name))
			if err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s has mode %v, error %v", name, info.Mode(), err)
			}
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("the directory has mode %v, error %v", info.Mode(), err)
		}
		before, err := os.Stat(filepath.Join(dir, taskFile))
		if err != nil {
			t.Fatal(err)
		}
		elapse(time.Minute)
		if after, err := os.Stat(filepath.Join(dir, taskFile)); err != nil || !os.SameFile(before, after) {
			t.Errorf("a file was written without a change (%v)", err)
		}
		w.put(Write{Name: "e", Config: map[string]string{"a": "1"}})
		if err := w.fence(Fence{Connector: "e", Generation: 6, Epoch: 1, Attempt: 1}).Write(t.Context(), record.Positions{"p": "1"}); err != nil {
			t.Fatal(err)
		}
		w.stop()
		for name, want := range map[string]bool{connectorFile: true, connectorFile + ".bak": true, positionFile + ".bak": false} {
			data, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil || strings.Contains(string(data), `"e"`) != want {
				t.Errorf("%s holds what was written last: want %t, error %v", name, want, err)
			}
		}
	})
}

func TestATopicThatWasLostIsRestoredFromFiles(t *testing.T) {
	damage := func(names ...string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			for _, name := range names {
				path := filepath.Join(dir, name)
				data, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, data[:len(data)/2], 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	cases := map[string]struct {
		prepare func(t *testing.T, dir string)
		keep    bool // some records are left
		wantLog string
	}{
		"all of it":          {},
		"all but its start":  {keep: true},
		"with damaged files": {prepare: damage(allFiles()...), wantLog: "Reading a local file failed"},
		"with files lost between the two renames": {prepare: func(t *testing.T, dir string) {
			t.Helper()
			for _, name := range allFiles() {
				if err := os.Remove(filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				b := newBroker()
				w := startWorker(t, b, inDir(dir))
				fill(t, w)
				w.stop()
				for _, name := range allFiles() { // a good backup of each, as after one more change
					data, err := os.ReadFile(filepath.Join(dir, name))
					if err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(filepath.Join(dir, name+".bak"), data, 0o600); err != nil {
						t.Fatal(err)
					}
				}
				if tc.prepare != nil {
					tc.prepare(t, dir)
				}
				if tc.keep {
					for _, topic := range []string{"config", "position", "offset"} {
						b.log(topic).Truncate(1)
					}
				} else {
					b = newBroker()
				}
				other := startWorker(t, b, notOldest)
				w = startWorker(t, b, inDir(dir))
				wantFilled(t, w)
				elapse(time.Minute)
				wantFilled(t, other)
				if tc.wantLog != "" && !w.logged(tc.wantLog) {
					t.Errorf("nothing was logged like %q", tc.wantLog)
				}
				w.stop()
				other.stop()
				late := startWorker(t, b, nil)
				wantFilled(t, late)
				late.stop()
			})
		})
	}
}

func TestFilesThatAreOfNoUseAreLeftOut(t *testing.T) {
	cases := map[string]struct {
		prepare func(t *testing.T, dir string)
		change  func(o *Options)
		wantLog string
	}{
		"files of another cluster": {change: func(o *Options) { o.ClusterID = "c2" }, wantLog: "another cluster"},
		"files of another topic": {
			change:  func(o *Options) { o.Topics = Topics{Config: "w", Position: "x", Offset: "y", Status: "z"} },
			wantLog: "another cluster or topic",
		},
		"files without sense": {
			prepare: func(t *testing.T, dir string) {
				t.Helper()
				for _, name := range allFiles() {
					for i, suffix := range []string{"", ".bak"} {
						data := []string{
							`{"v":1,"cluster":"c1","topic":"config","read":99,"connectors":{"c":7,"d":{"v":1,"name":"d"},"e":null,"f":{"positions":[null,{}]}}}`,
							"\x00\x00",
						}[i]
						if err := os.WriteFile(filepath.Join(dir, name+suffix), []byte(data), 0o600); err != nil {
							t.Fatal(err)
						}
					}
				}
			},
			wantLog: "Ignoring",
		},
		"files of a later version": {
			prepare: func(t *testing.T, dir string) {
				t.Helper()
				for _, name := range allFiles() {
					if err := os.WriteFile(filepath.Join(dir, name), []byte(`{"v":2}`), 0o600); err != nil {
						t.Fatal(err)
					}
				}
			},
			wantLog: "does not know",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				w := startWorker(t, newBroker(), inDir(dir))
				if tc.prepare == nil {
					fill(t, w)
				}
				w.stop()
				if tc.prepare != nil {
					tc.prepare(t, dir)
				}
				w = startWorker(t, newBroker(), func(o *Options) {
					inDir(dir)(o)
					if tc.change != nil {
						tc.change(o)
					}
				})
				wantEqual(t, w.Configs().All(), []Connector(nil))
				wantEqual(t, w.Positions().Read("c"), record.Positions{})
				if !w.logged(tc.wantLog) {
					t.Errorf("nothing was logged like %q", tc.wantLog)
				}
				w.put(Write{Name: "new", Config: map[string]string{"a": "1"}})
				w.stop()
			})
		})
	}
}

// The Java runtime's files have the same names. What is there is not ours to lose.
func TestFilesOfOthersAreKept(t *testing.T) {
	java := func(name string) string {
		return fmt.Sprintf(`{"file-source":{"connector-class":"FileSourceConnector","of":%q}}`, name)
	}
	other := func(name string) string { return fmt.Sprintf(`{"v":1,"cluster":"other","topic":%q,"read":9}`, name) }
	cases := map[string]map[string]string{
		"the Java runtime's": {
			connectorFile:          java("c"),
			connectorFile + ".bak": java("c.bak"),
			taskFile:               java("t"),
			positionFile:           java("p"),
			offsetFile + ".bak":    java("o.bak"),
		},
		"another cluster's": {
			connectorFile:          other("c"),
			connectorFile + ".bak": other("c.bak"),
			offsetFile:             other("o"),
			offsetFile + ".bak":    other("o.bak"),
		},
		"a damaged one, and its backup": {positionFile: `{"v":1,`, positionFile + ".bak": `{"v":7}`},
	}
	for name, files := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				for file, text := range files {
					if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				b := newBroker()
				w := startWorker(t, b, inDir(dir))
				fill(t, w)
				elapse(2 * time.Second)
				w.put(Write{Name: "more", Config: map[string]string{"a": "1"}})
				w.stop()
				var kept []string
				for file, text := range files {
					found, err := filepath.Glob(filepath.Join(dir, file+".kept-*"))
					if err != nil || len(found) != 1 {
						t.Errorf("%s is kept as %q, %v", file, found, err)
						continue
					}
					data, err := os.ReadFile(found[0])
					if err != nil || string(data) != text {
						t.Errorf("%s holds %q, %v; want %q", found[0], data, err, text)
					}
					kept = append(kept, found[0])
				}
				all, _ := filepath.Glob(filepath.Join(dir, "*.kept-*"))
				wantEqual(t, len(all), len(kept))
				w = startWorker(t, b, inDir(dir))
				wantFilled(t, w)
				w.stop()
			})
		})
	}
}

func TestOlderFilesNeverUndoWhatTheTopicHolds(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w, other := startWorker(t, b, inDir(dir)), startWorker(t, b, nil)
		fill(t, w)
		w.stop()
		other.settle()
		other.put(Write{Name: "c", Delete: true, IfRevision: -1})
		elapse(time.Minute) // until its task set is erased
		size := len(b.log("config").Entries())
		w = startWorker(t, b, inDir(dir))
		elapse(time.Minute)
		if _, ok := w.Configs().Get("c"); ok {
			t.Error("a deleted connector came back")
		}
		wantEqual(t, len(b.log("config").Entries()), size)
		w.stop()
		other.stop()
	})
}

func TestADiskThatFailsHoldsNothingUp(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "store", "config")
	if err := os.WriteFile(filepath.Join(root, "store"), nil, 0o600); err != nil { // a file where the directory belongs
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		w := startWorker(t, newBroker(), func(o *Options) { inDir(dir)(o); o.Registerer = reg })
		fill(t, w)
		elapse(10 * time.Second)
		synctest.Wait()
		if !w.logged("Writing a local file failed") {
			t.Error("the failure was not logged")
		}
		w.mu.Lock()
		if got := strings.Count(strings.Join(w.logs, "\n"), "Writing a local file failed"); got != 1 {
			t.Errorf("the failure was logged %d times in 10 s, want once", got)
		}
		w.mu.Unlock()
		if got := counter(t, reg, "connect_worker_store_file_writes_total", "failed"); got < 36 {
			t.Errorf("%v failures are counted, want one a second and file", got)
		}
		if err := os.Remove(filepath.Join(root, "store")); err != nil {
			t.Fatal(err)
		}
		elapse(2 * time.Second)
		synctest.Wait()
		if got := counter(t, reg, "connect_worker_store_file_writes_total", "written"); got != 5 {
			t.Errorf("%v writes are counted after the disk is back, want 5", got)
		}
		w.stop()
	})
}

func counter(t *testing.T, reg *prometheus.Registry, name, result string) (sum float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if family.GetName() == name && l.GetName() == "result" && l.GetValue() == result {
					sum += m.GetCounter().GetValue()
				}
			}
		}
	}
	return sum
}

func FuzzLocalFilesTakeAnything(f *testing.F) {
	f.Add([]byte(`{"v":1,"cluster":"c1","topic":"t","read":9,"connectors":{"c":{"v":1,"name":"c","epoch":1,"tasks":[],"id":"x"}}}`))
	f.Add([]byte(`{"v":1,"cluster":"c1","topic":"t","read":9,"connectors":{"c":{"reset":{},"fences":[null],"positions":[{"v":1}]}}}`))
	f.Add([]byte(`{"v":1,"cluster":"c1","topic":"t","read":9,"connectors":{"c":null}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMirror(Options{ClusterID: "c1", Dir: t.TempDir()})
		configs, progress := storefold.NewConfigs(), storefold.NewProgress()
		for _, s := range []*sheet{{name: connectorFile, part: configs.ConnectorSheet()}, {name: taskFile, part: configs.TaskSheet()},
			{name: positionFile, part: progress.Sheet()}} {
			if err := os.WriteFile(filepath.Join(m.disk.path, s.name), data, 0o600); err != nil {
				t.Fatal(err)
			}
			s.topic, s.target = "t", configs
			if s.name == positionFile {
				s.target = progress
			}
			keys, _ := m.recover(0, s)
			for _, key := range keys {
				if _, ok := s.target.Current(key); !ok {
					t.Errorf("key %q is to be published and has no value", key)
				}
			}
		}
	})
}

func TestADiskThatHangsHoldsNoStopUp(t *testing.T) {
	m := newMirror(Options{Dir: t.TempDir()})
	m.busy <- struct{}{} // as while a write does not come back
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.flush(ctx); err == nil {
		t.Error("the stop was not told that files are out of date")
	}
}
