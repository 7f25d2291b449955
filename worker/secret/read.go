package secret

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/secret/reference"
)

// maxFile bounds a file that is read, in bytes.
const maxFile = 1 << 20

// reading reads each file and each reference once.
type reading struct {
	cfg    Config
	files  map[place]content
	values map[reference.Reference]string // of those that were read
	failed map[reference.Reference]error
}

// place is a file below one of the folders that may be read.
type place struct{ dir, file string }

// content is what was read of a file.
type content struct {
	text       string
	properties map[string]string // nil until they are asked for
	err        error
}

func (r *Resolver) reading() *reading {
	return &reading{cfg: r.cfg, files: map[place]content{}, values: map[reference.Reference]string{}, failed: map[reference.Reference]error{}}
}

// value is what the reference stands for. Its errors never show any of it.
func (r *reading) value(ref reference.Reference) (string, error) {
	if err := r.failed[ref]; err != nil {
		return "", err
	}
	if value, ok := r.values[ref]; ok {
		return value, nil
	}
	value, err := r.read(ref)
	switch {
	case err != nil:
	case value == "":
		err = errors.New("what it refers to is empty")
	case !utf8.ValidString(value) || strings.ContainsRune(value, 0):
		err = errors.New("what it refers to is no text in UTF-8")
	}
	if err != nil {
		r.failed[ref] = err
		return "", err
	}
	r.values[ref] = value
	return value, nil
}

// size is how many bytes the references stand for, as far as they were read.
func (r *reading) size(refs []reference.Reference) (size int) {
	for _, ref := range refs {
		size += len(r.values[ref])
	}
	return size
}

func (r *reading) read(ref reference.Reference) (string, error) {
	if err := ref.Check(); err != nil {
		return "", refusal{err}
	}
	switch ref.Provider {
	case reference.Env:
		return r.variable(ref.Key)
	case reference.Secret:
		return r.text(place{r.cfg.Mounted, filepath.Join(ref.Path, ref.Key)})
	case reference.Dir:
		at, err := r.place(filepath.Join(ref.Path, ref.Key))
		if err != nil {
			return "", err
		}
		return r.text(at)
	}
	at, err := r.place(ref.Path)
	if err != nil {
		return "", err
	}
	return r.property(at, ref.Key)
}

func (r *reading) variable(name string) (string, error) {
	if !slices.Contains(r.cfg.Env, name) {
		return "", refused("this worker gives connectors no such variable: add %s to secretEnv in connect.conf", name)
	}
	value, ok := os.LookupEnv(name)
	if !ok {
		return "", fmt.Errorf("the worker's environment has no variable %s: set it, and start the worker again", name)
	}
	return value, nil
}

// place finds the folder that the path is in; of several the widest.
func (r *reading) place(path string) (place, error) {
	dirs := slices.Concat([]string{r.cfg.Mounted}, r.cfg.Dirs)
	slices.SortStableFunc(dirs, func(a, b string) int { return cmp.Compare(len(a), len(b)) })
	for _, dir := range dirs {
		if file, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(file) && file != "." {
			return place{dir, file}, nil
		}
	}
	return place{}, refused(
		"this worker reads secrets in %s only: put the file there, or add its folder to secretDirs in connect.conf",
		strings.Join(dirs, ", "),
	)
}

// text is the file's content without a line end behind it.
func (r *reading) text(at place) (string, error) {
	c := r.file(at)
	if line, ok := strings.CutSuffix(c.text, "\r\n"); ok {
		return line, c.err
	}
	return strings.TrimSuffix(c.text, "\n"), c.err
}

func (r *reading) property(at place, key string) (string, error) {
	c := r.file(at)
	if c.err == nil && c.properties == nil {
		var err error
		if c.properties, err = config.Properties(c.text); err != nil {
			c.err = fmt.Errorf("%s is no file of Java properties: %w", at, err)
		}
		r.files[at] = c
	}
	if c.err != nil {
		return "", c.err
	}
	value, ok := c.properties[key]
	if !ok {
		return "", fmt.Errorf("%s has no property of that name: add it, or correct the reference", at)
	}
	return value, nil
}

func (r *reading) file(at place) content {
	c, ok := r.files[at]
	if !ok {
		c.text, c.err = at.read()
		r.files[at] = c
	}
	return c
}

// String is the path.
func (p place) String() string { return filepath.Join(p.dir, p.file) }

// read reads the file. Links are followed as long as they stay below the folder: Kubernetes mounts secrets by such
// links.
func (p place) read() (string, error) {
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return "", p.explain(err)
	}
	defer root.Close()
	// Not blocking: what is there may be a pipe.
	f, err := root.OpenFile(p.file, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", p.explain(err)
	}
	defer f.Close()
	info, err := f.Stat()
	switch {
	case err != nil:
		return "", p.explain(err)
	case !info.Mode().IsRegular():
		return "", fmt.Errorf("%s is no file", p)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	switch {
	case err != nil:
		return "", p.explain(err)
	case len(b) > maxFile:
		return "", fmt.Errorf("the file %s has more than %d bytes", p, maxFile)
	}
	return string(b), nil
}

// explain says what to do about a file that cannot be read.
func (p place) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the file does not exist: make %s, or correct the reference", p)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("the file cannot be read: let the worker's user read %s: %w", p, err)
	}
	return fmt.Errorf("the file %s cannot be read (a link must not lead out of %s): %w", p, p.dir, err)
}
