package store

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

const password = "hunter2"

// secretive gives a worker's stores a connector with a password in its config and in its task set.
func secretive(t *testing.T, w *worker, name string) {
	t.Helper()
	c := w.put(Write{Name: name, Config: map[string]string{"password": password}})
	if _, err := w.Configs().PublishTasks(t.Context(), name, c.Epoch, []map[string]string{{"url": "db://" + password}}); err != nil {
		t.Fatal(err)
	}
	writer := w.fence(Fence{Connector: name, Generation: 5, Epoch: c.Epoch, Attempt: 1})
	if err := writer.Write(t.Context(), record.Positions{"p/0": "10"}); err != nil {
		t.Fatal(err)
	}
}

// holders gives the files below a folder that hold a text.
func holders(t *testing.T, dir, text string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), text) {
			out = append(out, filepath.Base(path))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// newest gives what a newcomer would publish again of the config topic.
func newest(b *broker) string {
	f := storefold.NewConfigs()
	var all []string
	for _, e := range b.log("config").Entries() {
		_, _ = f.Apply(e)
	}
	for _, key := range f.Keys() {
		value, _ := f.Current(key)
		all = append(all, string(value))
	}
	return strings.Join(all, "\n")
}

// last gives the last record of a key in the config topic.
func last(b *broker, key string) (value string) {
	for _, e := range b.log("config").Entries() {
		if e.Key == key {
			value = string(e.Value)
		}
	}
	return value
}

// The flush interval is an hour: what is erased is so at once.
func rarely(dir string) func(*Options) {
	return func(o *Options) { o.Dir, o.FlushInterval = dir, time.Hour }
}

func TestNothingOfADeletedConnectorStays(t *testing.T) {
	dirs := []string{t.TempDir(), t.TempDir()}
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		first := startWorker(t, b, inDir(dirs[0]))
		second := startWorker(t, b, func(o *Options) { notOldest(o); inDir(dirs[1])(o) })
		secretive(t, first, "c")
		elapse(2 * time.Second)
		synctest.Wait()
		for _, dir := range dirs {
			wantEqual(t, holders(t, dir, password), []string{connectorFile, connectorFile + ".bak", taskFile, taskFile + ".bak"})
		}
		first.stop()
		second.stop()
		first, second = startWorker(t, b, rarely(dirs[0])), startWorker(t, b, func(o *Options) { notOldest(o); rarely(dirs[1])(o) })
		second.put(Write{Name: "c", Delete: true, IfRevision: -1})
		second.settle()
		for i, dir := range dirs {
			if got := holders(t, dir, password); got != nil {
				t.Errorf("worker %d keeps the password in %v", i, got)
			}
		}
		if got := newest(b); strings.Contains(got, password) {
			t.Errorf("the newest state holds the password: %s", got)
		}
		elapse(5 * time.Second)
		for _, key := range []string{"connector/c", "tasks/c"} {
			if got := last(b, key); got == "" || strings.Contains(got, password) {
				t.Errorf("the last record of %s is %s", key, got)
			}
		}
		wantEqual(t, second.Configs().Epoch("c"), int64(2))
		first.stop()
		second.stop()

		first = startWorker(t, b, rarely(dirs[0])) // all of them start again
		again := first.put(Write{Name: "c", Config: map[string]string{"a": "1"}})
		wantEqual(t, again.Epoch, int64(3))
		wantEqual(t, len(again.Tasks), 0)
		_, err := first.Positions().Fence(t.Context(), Fence{Connector: "c", Generation: 5, Epoch: 1, Attempt: 1})
		wantIs(t, err, ErrFenced)
		first.stop()
	})
}

func TestAnOldPasswordStaysInNoFile(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w := startWorker(t, b, inDir(dir))
		secretive(t, w, "c")
		w.stop()
		w = startWorker(t, b, rarely(dir))
		w.put(Write{Name: "c", Config: map[string]string{"password": "another"}, IfRevision: -1})
		w.settle()
		wantEqual(t, holders(t, dir, password), []string(nil))
		wantEqual(t, holders(t, dir, "another"), []string{connectorFile, connectorFile + ".bak"})
		w.stop()
	})
}

// A worker that was away while a connector was deleted, or that was killed between the writes of a file and of its
// backup.
func TestAWorkerThatStartsForgetsAtOnce(t *testing.T) {
	cases := map[string]func(t *testing.T, dir string){
		"away": func(*testing.T, string) {},
		"killed between a file and its backup": func(t *testing.T, dir string) {
			t.Helper()
			data, err := os.ReadFile(filepath.Join(dir, connectorFile))
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{connectorFile, connectorFile + ".tmp"} {
				clean := []byte(strings.ReplaceAll(string(data), password, "x"))
				if err := os.WriteFile(filepath.Join(dir, name), clean, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		},
		"killed while it wrote": func(t *testing.T, dir string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, taskFile+".tmp"), []byte(password), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				b := newBroker()
				w, other := startWorker(t, b, inDir(dir)), startWorker(t, b, nil)
				secretive(t, w, "c")
				w.stop()
				prepare(t, dir)
				if holders(t, dir, password) == nil {
					t.Fatal("no file holds the password, so there is nothing to forget")
				}
				other.settle()
				other.put(Write{Name: "c", Delete: true, IfRevision: -1})
				w = startWorker(t, b, rarely(dir))
				wantEqual(t, holders(t, dir, password), []string(nil))
				w.stop()
				other.stop()
			})
		})
	}
}

// A topic that was lost comes back from the files of two workers, one of which was away while a connector was deleted.
func TestADeletedConnectorDoesNotComeBackFromOlderFiles(t *testing.T) {
	old, dir := t.TempDir(), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		away, w := startWorker(t, b, inDir(old)), startWorker(t, b, inDir(dir))
		secretive(t, w, "c")
		elapse(2 * time.Second)
		away.stop()
		w.put(Write{Name: "c", Delete: true, IfRevision: -1})
		elapse(5 * time.Second)
		w.stop()
		b = newBroker()
		away, w = startWorker(t, b, inDir(old)), startWorker(t, b, inDir(dir))
		elapse(time.Minute)
		for i, each := range []*worker{away, w} {
			if _, ok := each.Configs().Get("c"); ok || each.Configs().Epoch("c") != 2 {
				t.Errorf("worker %d has the connector at epoch %d", i, each.Configs().Epoch("c"))
			}
		}
		if got := newest(b); strings.Contains(got, password) {
			t.Errorf("the newest state holds the password: %s", got)
		}
		wantEqual(t, holders(t, old, password), []string(nil))
		wantEqual(t, holders(t, dir, password), []string(nil))
		away.stop()
		w.stop()
	})
}

// A disk that takes nothing keeps what is there; it is told, and erased once the disk takes something.
func TestADiskThatTakesNothingForgetsLater(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w := startWorker(t, b, inDir(dir))
		secretive(t, w, "c")
		elapse(2 * time.Second)
		synctest.Wait()
		blocked := []string{connectorFile + ".tmp", taskFile + ".tmp"}
		for _, name := range blocked { // a folder where the new contents are to be written
			if err := os.MkdirAll(filepath.Join(dir, name, "in the way"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		w.put(Write{Name: "c", Delete: true, IfRevision: -1})
		elapse(2 * time.Second)
		synctest.Wait()
		if !w.logged("may hold secrets of connectors that were changed or deleted") {
			t.Error("it is not told that the password stays")
		}
		// What is left is the copy from which a lost topic is restored; the backup has gone to make room.
		wantEqual(t, holders(t, dir, password), []string{connectorFile, taskFile})
		for _, name := range blocked {
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		elapse(2 * time.Second)
		synctest.Wait()
		wantEqual(t, holders(t, dir, password), []string(nil))
		wantEqual(t, holders(t, dir, `"deleted": true`), []string{connectorFile, connectorFile + ".bak"})
		w.stop()
	})
}

// Whatever fails of the writes of a file that is to forget: it is whole, or its backup is.
func TestAFileThatForgetsIsNeverWithoutContents(t *testing.T) {
	doc := func(n string) *document { return &document{V: storefold.Version, Cluster: n} }
	cases := map[string]struct {
		prepare  func(t *testing.T, dir string)
		want     string
		wantFail bool
		wantLeft []string
	}{
		"nothing fails": {func(*testing.T, string) {}, "new", false, []string{"f", "f.bak"}},
		"the new contents are not written": {func(t *testing.T, dir string) {
			t.Helper()
			if err := os.MkdirAll(filepath.Join(dir, "f.tmp", "x"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, "old", true, []string{"f", "f.tmp"}},
		"the new contents are not written over a damaged file": {func(t *testing.T, dir string) {
			t.Helper()
			if err := os.MkdirAll(filepath.Join(dir, "f.tmp", "x"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "f"), []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "old", true, []string{"f", "f.bak", "f.tmp"}},
		"the file is not replaced": {func(t *testing.T, dir string) {
			t.Helper()
			if err := os.Remove(filepath.Join(dir, "f")); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, "f", "x"), 0o700); err != nil {
				t.Fatal(err)
			}
		}, "old", true, []string{"f", "f.bak", "f.tmp"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := directory{path: t.TempDir(), foreign: map[string]bool{}}
			for range 2 {
				if err := d.save("f", doc("old"), true); err != nil {
					t.Fatal(err)
				}
			}
			tc.prepare(t, d.path)
			if err := d.save("f", doc("new"), true); (err != nil) != tc.wantFail {
				t.Errorf("saving gives %v", err)
			}
			got, _ := d.load("f")
			if got == nil || got.Cluster != tc.want {
				t.Errorf("read back %+v, want %q", got, tc.want)
			}
			entries, err := os.ReadDir(d.path)
			if err != nil {
				t.Fatal(err)
			}
			var left []string
			for _, e := range entries {
				left = append(left, e.Name())
			}
			slices.Sort(left)
			wantEqual(t, left, tc.wantLeft)
		})
	}
}

// Files that another program wrote are kept, also where nothing else is.
func TestForgettingKeepsFilesOfOthers(t *testing.T) {
	d := directory{path: t.TempDir(), foreign: map[string]bool{}}
	for _, name := range []string{"f", "f.bak"} {
		if err := os.WriteFile(filepath.Join(d.path, name), []byte("of "+name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if doc, err := d.load("f"); doc != nil || err == nil {
		t.Fatalf("read %+v, %v", doc, err)
	}
	if err := d.save("f", &document{V: storefold.Version}, true); err != nil {
		t.Fatal(err)
	}
	kept, err := filepath.Glob(filepath.Join(d.path, "*.kept-*"))
	if err != nil || len(kept) != 2 {
		t.Errorf("%v are kept, %v", kept, err)
	}
}

// A flush that waits for the disk ends with its worker.
func TestAnErasureOnAHungDiskHoldsNoStopUp(t *testing.T) {
	m := newMirror(Options{Dir: t.TempDir(), FlushInterval: time.Hour})
	m.busy <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.run(ctx); err != nil {
		t.Errorf("the worker ends with %v", err)
	}
}
