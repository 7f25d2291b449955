package secret

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/secret/reference"
)

// tree is a folder of secrets, beside one that nobody may read.
type tree struct {
	t        *testing.T
	resolver *Resolver
	// mounted, more and outside are folders; only the first two may be read.
	mounted, more, outside string
}

func newTree(t *testing.T) *tree {
	t.Helper()
	base := t.TempDir()
	w := &tree{t: t, mounted: filepath.Join(base, "secrets"), more: filepath.Join(base, "more"), outside: filepath.Join(base, "outside")}
	w.resolver = New(Config{Mounted: w.mounted, Dirs: []string{w.more}, Env: []string{"SECRET_TEST", "SECRET_TEST_GONE"}})
	w.write(filepath.Join(w.outside, "password"), "outside")
	w.write(filepath.Join(w.more, "app.properties"), "user=ann\npassword: hunter2\nempty=\n")
	w.write(filepath.Join(w.more, "sub", "key"), "sub\n")
	w.mount(
		"..1",
		map[string]string{
			"password": "hunter2\n",
			"user":     "ann",
			"lines":    "a\nb\n\n",
			"dos":      "x\r\n",
			"cr":       "x\r",
			"nested":   "${env:SECRET_TEST}",
		},
	)
	return w
}

func (w *tree) write(path, text string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *tree) link(to, at string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Symlink(to, at); err != nil {
		w.t.Fatal(err)
	}
}

// mount is the secret "kafka" as Kubernetes mounts one, or updates it: the keys are links through ..data, which is
// swapped.
func (w *tree) mount(version string, keys map[string]string) {
	w.t.Helper()
	dir := filepath.Join(w.mounted, "kafka")
	for key, value := range keys {
		w.write(filepath.Join(dir, version, key), value)
		if _, err := os.Lstat(filepath.Join(dir, key)); err != nil {
			w.link(filepath.Join("..data", key), filepath.Join(dir, key))
		}
	}
	w.link(version, filepath.Join(dir, "..next"))
	if err := os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")); err != nil {
		w.t.Fatal(err)
	}
}

// at replaces the names of folders in a text.
func (w *tree) at(text string) string {
	return strings.NewReplacer("MOUNTED", w.mounted, "MORE", w.more, "OUTSIDE", w.outside).Replace(text)
}

func TestResolve(t *testing.T) {
	t.Setenv("SECRET_TEST", "from env")
	t.Setenv("SECRET_TEST_OTHER", "other")
	w := newTree(t)
	cases := map[string]struct {
		value string
		want  string
		err   string // a part of it
		only  bool   // only another config helps
	}{
		"text is left alone": {value: "${topic} ${vault:a:b} $ {", want: "${topic} ${vault:a:b} $ {"},
		"a mounted secret":   {value: "${secret:kafka:password}", want: "hunter2"},
		"several in a JAAS line": {
			value: `x required username="${secret:kafka:user}" password="${secret:kafka:password}";`,
			want:  `x required username="ann" password="hunter2";`,
		},
		"one line end is left out":       {value: "${secret:kafka:lines}", want: "a\nb\n"},
		"that of Windows, too":           {value: "${secret:kafka:dos}", want: "x"},
		"but no half of it":              {value: "${secret:kafka:cr}", want: "x\r"},
		"what it holds is not resolved":  {value: "${secret:kafka:nested}", want: "${env:SECRET_TEST}"},
		"a file of a folder":             {value: "${dir:MOUNTED/kafka:password}", want: "hunter2"},
		"a file of a folder below":       {value: "${dir:MORE/sub:key}", want: "sub"},
		"a property":                     {value: "${file:MORE/app.properties:password}", want: "hunter2"},
		"a path with more than it needs": {value: "${file:MORE//./app.properties:user}", want: "ann"},
		"a variable":                     {value: "a-${env:SECRET_TEST}-b", want: "a-from env-b"},
		"a variable that is not given": {
			value: "${env:SECRET_TEST_OTHER}",
			err: "x refers to ${env:SECRET_TEST_OTHER}: this worker gives connectors no such variable: add SECRET_TEST_OTHER to " +
				"secretEnv in connect.conf",
			only: true,
		},
		"nor one that is not there": {value: "${env:SECRET_TEST_NONE}", err: "add SECRET_TEST_NONE to secretEnv", only: true},
		"a variable that is not set": {
			value: "${env:SECRET_TEST_GONE}",
			err:   "the worker's environment has no variable SECRET_TEST_GONE: set it",
		},
		"a secret that is not there": {
			value: "${secret:db:password}",
			err:   "x refers to ${secret:db:password}: the file does not exist: make MOUNTED/db/password, or correct the reference",
		},
		"a key that is not there": {value: "${secret:kafka:pasword}", err: "the file does not exist: make MOUNTED/kafka/pasword"},
		"a file that is not there": {
			value: "${file:MORE/x:password}",
			err:   "x refers to ${file:MORE/x:password}: the file does not exist",
		},
		"a property that is not there": {
			value: "${file:MORE/app.properties:passwd}",
			err:   "MORE/app.properties has no property of that name",
		},
		"an empty property":           {value: "${file:MORE/app.properties:empty}", err: "what it refers to is empty"},
		"a folder in place of a file": {value: "${dir:MORE:sub}", err: "MORE/sub is no file"},
		"a file outside": {
			value: "${file:OUTSIDE/password:a}",
			err:   "this worker reads secrets in MORE, MOUNTED only: put the file there, or add its folder to secretDirs in connect.conf",
			only:  true,
		},
		"a file outside that is not there": {
			value: "${file:OUTSIDE/none:a}",
			err:   "this worker reads secrets in MORE, MOUNTED only",
			only:  true,
		},
		"a folder outside": {
			value: "${dir:OUTSIDE:password}",
			err:   "this worker reads secrets in MORE, MOUNTED only",
			only:  true,
		},
		"a folder whose name begins as another": {
			value: "${dir:MOREOVER:password}",
			err:   "this worker reads secrets in MORE, MOUNTED only",
			only:  true,
		},
		"the folder itself":   {value: "${file:MORE:a}", err: "this worker reads secrets in MORE, MOUNTED only", only: true},
		"above":               {value: "${file:MORE/../outside/password:a}", err: "without ..", only: true},
		"a form that is none": {value: "${secret:kafka}", err: "write ${secret:name:key}", only: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := w.resolver.Resolve(map[string]string{"x": w.at(tc.value), "other": "text"})
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), w.at(tc.err)) || got.Config != nil {
					t.Errorf("got %v, %v; want the error %q", got.Config, err, w.at(tc.err))
				}
				if got := errors.Is(err, ErrRefused); got != tc.only {
					t.Errorf("refused is %t: %v", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"x": tc.want, "other": "text"}, got.Config); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFilesThatMustNotBeRead(t *testing.T) {
	w := newTree(t)
	w.link(w.outside, filepath.Join(w.mounted, "all"))
	w.link("../../outside/password", filepath.Join(w.mounted, "kafka", "up"))
	w.link(filepath.Join(w.outside, "password"), filepath.Join(w.mounted, "kafka", "absolute"))
	w.link("loop", filepath.Join(w.mounted, "kafka", "loop"))
	w.write(filepath.Join(w.mounted, "kafka", "huge"), strings.Repeat("x", maxFile+1))
	w.write(filepath.Join(w.mounted, "kafka", "largest"), strings.Repeat("x", maxFile))
	w.write(filepath.Join(w.mounted, "kafka", "binary"), "hunter2\xff")
	w.write(filepath.Join(w.mounted, "kafka", "zero"), "hunter2\x00")
	w.write(filepath.Join(w.mounted, "kafka", "empty"), "\n")
	w.write(filepath.Join(w.more, "broken"), `password=hunter2\u12`)
	if err := syscall.Mkfifo(filepath.Join(w.mounted, "kafka", "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct{ value, want string }{
		"a folder that is a link out":     {"${secret:all:password}", "a link must not lead out of MOUNTED"},
		"a link up and out":               {"${secret:kafka:up}", "a link must not lead out of MOUNTED"},
		"an absolute link out":            {"${secret:kafka:absolute}", "a link must not lead out of MOUNTED"},
		"a link to itself":                {"${secret:kafka:loop}", "cannot be read"},
		"the same by another provider":    {"${dir:MOUNTED/kafka:up}", "a link must not lead out of MOUNTED"},
		"and as properties":               {"${file:MOUNTED/kafka/up:password}", "a link must not lead out of MOUNTED"},
		"a file that is too large":        {"${secret:kafka:huge}", "the file MOUNTED/kafka/huge has more than 1048576 bytes"},
		"one that is as large as can be":  {"${secret:kafka:largest}", ""},
		"a pipe, which would never end":   {"${secret:kafka:pipe}", "is no file"},
		"what is no text":                 {"${secret:kafka:binary}", "is no text in UTF-8"},
		"what ends in the middle":         {"${secret:kafka:zero}", "is no text in UTF-8"},
		"an empty one":                    {"${secret:kafka:empty}", "is empty"},
		"properties that cannot be read":  {"${file:MORE/broken:password}", "MORE/broken is no file of Java properties: line 1"},
		"a key of Kubernetes' own folder": {"${secret:kafka:..data}", "is no file"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := w.resolver.Resolve(map[string]string{"x": w.at(tc.value)})
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), w.at(tc.want)) {
				t.Errorf("got %v, want %q", err, w.at(tc.want))
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), ": outside")) {
				t.Errorf("the error shows the secret: %v", err)
			}
		})
	}
}

func TestAFileThatTheWorkerMayNotReadIsToldOf(t *testing.T) {
	err := place{"/s", "kafka/password"}.explain(&fs.PathError{Op: "openat", Path: "kafka/password", Err: syscall.EACCES})
	if !strings.Contains(err.Error(), "let the worker's user read /s/kafka/password") || errors.Is(err, ErrRefused) {
		t.Error(err)
	}
}

func TestAllThatIsWrongIsToldAtOnce(t *testing.T) {
	w := newTree(t)
	got, err := w.resolver.Resolve(
		map[string]string{"a": "${secret:no:a}${secret:no:a}${env:X}", "b": "${secret:no:b}", "c": "${secret:kafka:user}"},
	)
	var texts []string
	for line := range strings.Lines(err.Error()) {
		texts = append(texts, line[:strings.Index(line, "}")+1])
	}
	if diff := cmp.Diff([]string{"a refers to ${env:X}", "a refers to ${secret:no:a}", "b refers to ${secret:no:b}"}, texts); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
	if got.Config != nil || len(got.Used) != 3 {
		t.Errorf("config %v, used %v", got.Config, got.Used.References())
	}
}

func TestBoundsOfAConfig(t *testing.T) {
	w := newTree(t)
	w.write(filepath.Join(w.mounted, "kafka", "large"), strings.Repeat("x", maxFile))
	cases := map[string]struct{ value, want string }{
		"as many references as may be": {strings.Repeat("${secret:kafka:user}", maxReferences), ""},
		"one more":                     {strings.Repeat("${secret:kafka:user}", maxReferences+1), "x: a config may have at most 256 references"},
		"as much as may be":            {strings.Repeat("${secret:kafka:large}", maxResolved/maxFile-1), ""},
		"more than fits into a process": {
			strings.Repeat("${secret:kafka:large}", maxReferences),
			"x: what the references of a config refer to may have at most",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := w.resolver.Resolve(map[string]string{"x": tc.value})
			if (err == nil) != (tc.want == "") || err != nil && (!strings.Contains(err.Error(), tc.want) || !errors.Is(err, ErrRefused)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestValuesAreAllThatHasToBeHidden(t *testing.T) {
	t.Setenv("SECRET_TEST", "variable")
	w := newTree(t)
	got, err := w.resolver.Resolve(map[string]string{"a": "x-${secret:kafka:password}", "b": "${env:SECRET_TEST}", "c": "plain"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"x-hunter2", "variable", "variable", "hunter2"}, got.Values); diff != "" {
		t.Errorf("values (-want +got):\n%s", diff)
	}
}

func TestChanges(t *testing.T) {
	t.Setenv("SECRET_TEST", "variable")
	w := newTree(t)
	config := map[string]string{
		"a": "${secret:kafka:password}${env:SECRET_TEST}${env:NO}",
		"b": w.at("${file:MORE/app.properties:user}"),
		"c": "${secret:late:x}",
	}
	before, _ := w.resolver.Resolve(config)
	if got := before.Used.References(); len(got) != 3 {
		t.Fatalf("used %v", got)
	}
	var watch reference.Watch
	changed := func() string {
		var out []string
		for _, ref := range before.Used.Changed(watch.Step(w.resolver.Look(before.Used.References()))) {
			out = append(out, ref.Provider+" "+ref.Key)
		}
		return strings.Join(out, ", ")
	}
	steps := []struct {
		name   string
		change func()
		want   []string // of the looks after it
	}{
		{"nothing happens", func() {}, []string{"", ""}},
		{
			"another property of the file changes",
			func() { w.write(filepath.Join(w.more, "app.properties"), "user=ann\npassword=new") },
			[]string{"", ""},
		},
		{
			"Kubernetes updates the secret, and nothing in it",
			func() { w.mount("..2", map[string]string{"password": "hunter2"}) },
			[]string{"", ""},
		},
		{
			"a change counts once two looks agree",
			func() { w.mount("..3", map[string]string{"password": "new"}) },
			[]string{"", "secret password", "secret password"},
		},
		{"a change back", func() { w.mount("..4", map[string]string{"password": "hunter2"}) }, []string{"", ""}},
		{"a file goes", func() { w.mount("..5", map[string]string{"user": "x"}) }, []string{"", ""}},
		{"and comes again", func() { w.mount("..6", map[string]string{"password": "hunter2"}) }, []string{"", ""}},
		{"a file that was missing comes", func() { w.write(filepath.Join(w.mounted, "late", "x"), "y") }, []string{"", "secret x"}},
	}
	for _, step := range steps {
		step.change()
		for i, want := range step.want {
			if got := changed(); got != want {
				t.Errorf("%s, look %d: %q changed, want %q", step.name, i+1, got, want)
			}
		}
	}
}

func TestAFileThatIsWrittenTwiceIsNotTakenHalf(t *testing.T) {
	ref := reference.Reference{Provider: reference.Secret, Path: "a", Key: "b"}
	used := reference.Used{ref: digest("old", nil)}
	var watch reference.Watch
	for i, look := range []string{"old", "half", "new", "new"} {
		if got, want := len(used.Changed(watch.Step(reference.Used{ref: digest(look, nil)}))) > 0, i == 3; got != want {
			t.Errorf("look %d at %q: changed is %t, want %t", i, look, got, want)
		}
	}
}

func FuzzResolveReadsNothingOutside(f *testing.F) {
	for _, seed := range []string{"kafka:password", "..:outside",
		"kafka:..data/../../../outside/password", "/:etc/passwd", "kafka:up", "a:b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, inside string) {
		w := newTree(t)
		w.link(w.outside, filepath.Join(w.mounted, "out"))
		w.link("../../outside/password", filepath.Join(w.mounted, "kafka", "up"))
		for _, form := range []string{"${secret:", "${dir:" + w.mounted + "/", "${file:" + w.more + "/", "${dir:", "${file:"} {
			got, err := w.resolver.Resolve(map[string]string{"x": form + inside + "}"})
			if err == nil && strings.Contains(got.Config["x"], "outside") && !strings.Contains(inside, "outside") {
				t.Errorf("%s reads what is outside", form+inside+"}")
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") && !strings.Contains(inside, "hunter2") {
				t.Errorf("the error shows a secret: %v", err)
			}
		}
	})
}
