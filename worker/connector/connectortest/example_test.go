package connectortest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
	"github.com/rocketmq-connect/operator/worker/connector/setting"
	"github.com/rocketmq-connect/operator/worker/record"
)

// The whole of a small connector, in both directions: LinesSource reads the lines of the files of a folder, each file
// being a partition, and LinesSink writes lines to a file for each RocketMQ queue. Both hold to the acceptance suites
// below.

const (
	keyDir     = "lines.dir"
	keyRefresh = "lines.refresh"
	keyBatch   = "lines.batch"
)

func lineKeys() []connector.Key {
	return []connector.Key{
		{Name: keyDir, Type: connector.String, Required: true, Doc: "the folder with the files, an absolute path"},
		{Name: keyRefresh, Type: connector.Duration, Default: "1s", Doc: "how often new files and lines are looked for"},
		{Name: keyBatch, Type: connector.Int, Default: "1000", Doc: "how many lines are handed over at once"},
	}
}

type lineSettings struct {
	dir     string
	refresh time.Duration
	batch   int
}

// readLineSettings is what Validate and Open do with a config.
func readLineSettings(r *setting.Reader) lineSettings {
	s := lineSettings{dir: r.Text(keyDir), refresh: r.Duration(keyRefresh, time.Millisecond), batch: r.Int(keyBatch, 1)}
	if s.dir != "" && !filepath.IsAbs(s.dir) {
		r.Fail("%s must be an absolute path, not %q: a task may run on any worker", keyDir, s.dir)
	}
	return s
}

// copies divides a connector into tasks that are told apart by Env.Task alone: what they read or write changes while
// they run.
func copies(cfg connector.Config, n int) ([]connector.Config, error) {
	out := make([]connector.Config, n)
	for i := range out {
		out[i] = maps.Clone(cfg)
	}
	return out, nil
}

// LinesSourceConnector is the class LinesSource.
type LinesSourceConnector struct{}

func (LinesSourceConnector) Spec() connector.Spec {
	return connector.Spec{Class: "LinesSource", Kind: connector.KindSource, Version: "1.0.0", Keys: lineKeys()}
}

func (c LinesSourceConnector) read(cfg connector.Config) (lineSettings, error) {
	r := setting.Read(c.Spec(), cfg)
	return readLineSettings(r), r.Err()
}

func (c LinesSourceConnector) Validate(cfg connector.Config) error {
	_, err := c.read(cfg)
	return err
}

func (LinesSourceConnector) Tasks(_ context.Context, cfg connector.Config, maxTasks int) ([]connector.Config, error) {
	return copies(cfg, maxTasks)
}

func (LinesSourceConnector) NewSource() connector.Source { return &linesSource{} }

// linesSource reads the files whose names fall to its task. A position is the number of bytes that were read.
type linesSource struct {
	set    lineSettings
	env    connector.Env
	next   map[string]int64 // by file
	paused []record.SourcePartition
}

func filePartition(name string) record.SourcePartition {
	return record.SourcePartition("lines/" + name)
}

func (s *linesSource) Open(ctx context.Context, env connector.Env, cfg connector.Config, from record.Positions) (err error) {
	*s = linesSource{env: env, next: map[string]int64{}}
	if s.set, err = (LinesSourceConnector{}).read(cfg); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	files, err := s.files()
	if err != nil {
		return err
	}
	for _, name := range files {
		if at := from[filePartition(name)]; at != "" {
			if s.next[name], err = strconv.ParseInt(string(at), 10, 64); err != nil {
				return fmt.Errorf("position %q of %s is no number of bytes: %w", at, name, err)
			}
		}
	}
	return env.EnsureTopic(ctx, "lines", 4)
}

// files is the names of the files of this task.
func (s *linesSource) files() ([]string, error) {
	entries, err := os.ReadDir(s.set.dir)
	if err != nil {
		return nil, fmt.Errorf("%w: the folder of %s cannot be read: %w", connector.ErrNotConnected, keyDir, err)
	}
	var names []string
	for _, e := range entries {
		if s.number(e.Name())%s.env.Tasks == s.env.Task {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

func (*linesSource) number(name string) int { return int(crc32.ChecksumIEEE([]byte(name)) >> 1) }

// Poll looks again and again until there is a line or ctx ends.
func (s *linesSource) Poll(ctx context.Context) ([]record.Record, error) {
	for {
		records, err := s.look()
		if err != nil || len(records) > 0 || ctx.Err() != nil {
			return records, err
		}
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(s.set.refresh):
		}
	}
}

func (s *linesSource) look() (out []record.Record, err error) {
	files, err := s.files()
	if err != nil {
		return nil, err
	}
	for _, name := range files {
		partition := filePartition(name)
		if slices.Contains(s.paused, partition) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(s.set.dir, name))
		if err != nil {
			return nil, fmt.Errorf("%w: %s cannot be read: %w", connector.ErrNotConnected, name, err)
		}
		for line := range bytes.Lines(text[min(s.next[name], int64(len(text))):]) {
			if len(out) == s.set.batch || !bytes.HasSuffix(line, []byte("\n")) {
				break // the rest of a line is still to come
			}
			s.next[name] += int64(len(line))
			out = append(out, record.Record{
				Topic: "lines", Queue: s.number(name) % 1024, Value: line[:len(line)-1],
				Partition: partition, Position: record.Position(strconv.FormatInt(s.next[name], 10)),
			})
		}
	}
	return out, nil
}

// Pause makes it a Pauser: the files are read one by one, so some can be left alone.
func (s *linesSource) Pause(partitions []record.SourcePartition) { s.paused = partitions }

func (s *linesSource) Close(context.Context) error { return nil }

// LinesSinkConnector is the class LinesSink.
type LinesSinkConnector struct{}

func (LinesSinkConnector) Spec() connector.Spec {
	keys := lineKeys()[:1]
	for _, name := range connector.TopicKeys() {
		keys = append(keys, connector.Key{Name: name, Type: connector.List, Doc: "the RocketMQ topics to read, separated by commas"})
	}
	return connector.Spec{Class: "LinesSink", Kind: connector.KindSink, Version: "1.0.0", Keys: keys}
}

func (c LinesSinkConnector) read(cfg connector.Config) (string, error) {
	r := setting.Read(c.Spec(), cfg)
	dir, _ := r.Text(keyDir), r.SinkTopics()
	return dir, r.Err()
}

func (c LinesSinkConnector) Validate(cfg connector.Config) error {
	_, err := c.read(cfg)
	return err
}

func (LinesSinkConnector) Tasks(_ context.Context, cfg connector.Config, maxTasks int) ([]connector.Config, error) {
	return copies(cfg, maxTasks)
}

func (LinesSinkConnector) NewSink() connector.Sink { return &linesSink{} }

// linesSink keeps lines until a flush writes them.
type linesSink struct {
	dir   string
	lines map[string][]byte // by file
}

func (s *linesSink) Open(ctx context.Context, _ connector.Env, cfg connector.Config) (err error) {
	s.lines = map[string][]byte{}
	if s.dir, err = (LinesSinkConnector{}).read(cfg); err != nil {
		return err
	}
	if _, err := os.Stat(s.dir); err != nil {
		return fmt.Errorf("%w: the folder of %s cannot be used: %w", connector.ErrNotConnected, keyDir, err)
	}
	return ctx.Err()
}

func (s *linesSink) Put(ctx context.Context, batch []record.Record) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	for i, r := range batch {
		if bytes.ContainsRune(r.Value, '\n') {
			return &connector.PoisonError{Index: i, Err: errors.New("the value holds a line end")}
		}
		file := fmt.Sprintf("%s-%d", r.Topic, r.Queue)
		s.lines[file] = append(append(s.lines[file], r.Value...), '\n')
	}
	return nil
}

func (s *linesSink) Flush(ctx context.Context) error {
	for _, name := range slices.Sorted(maps.Keys(s.lines)) {
		if ctx.Err() != nil { // another worker may have the task now
			return ctx.Err()
		}
		if err := appendTo(filepath.Join(s.dir, name), s.lines[name]); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		delete(s.lines, name)
	}
	return ctx.Err()
}

func appendTo(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	return errors.Join(err, f.Sync(), f.Close())
}

func (s *linesSink) Close(context.Context) error { s.lines = nil; return nil }

// Example runs the source as a worker does, and shows what its users are told of a config that is wrong.
func Example() {
	dir, err := os.MkdirTemp("", "lines")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := appendTo(filepath.Join(dir, "a.txt"), []byte("one\ntwo\nthr")); err != nil {
		log.Fatal(err)
	}

	class, ctx := LinesSourceConnector{}, context.Background()
	fmt.Println(class.Validate(connector.Config{keyDir: "data", keyBatch: "0"}))

	source := class.NewSource()
	if err := source.Open(ctx, connectortest.NewWorker(nil).Env(0, 1), connector.Config{keyDir: dir}, nil); err != nil {
		log.Fatal(err)
	}
	records, err := source.Poll(ctx)
	for _, r := range records {
		fmt.Printf("%s of %s, then %s\n", r.Value, r.Partition, r.Position)
	}
	fmt.Println(err, source.Close(ctx))
	// Output:
	// lines.batch must be from 1 to 1073741824, not 0
	// lines.dir must be an absolute path, not "data": a task may run on any worker
	// one of lines/a.txt, then 4
	// two of lines/a.txt, then 8
	// <nil> <nil>
}

// fileOf is the name of the file of a partition.
func fileOf(partition int) string { return fmt.Sprintf("p%d", partition) }

func linesSystem(t *testing.T) connectortest.SourceSystem {
	dir := t.TempDir()
	write := func(t testing.TB, partition int, text string) {
		if err := appendTo(filepath.Join(dir, fileOf(partition)), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	for p := range 3 {
		write(t, p, "")
	}
	return connectortest.SourceSystem{
		Config: connector.Config{keyDir: dir, keyRefresh: "5"}, Partitions: 3,
		Name: func(p int) record.SourcePartition { return filePartition(fileOf(p)) },
		Produce: func(t testing.TB, p int, values ...string) {
			for _, v := range values {
				write(t, p, v+"\n")
			}
		},
		Grow:        func(t testing.TB) { write(t, 3, "") },
		Unreachable: connector.Config{keyDir: filepath.Join(dir, "missing")},
	}
}

func TestLinesSource(t *testing.T) { connectortest.RunSource(t, LinesSourceConnector{}, linesSystem) }

func linesTarget(t *testing.T) connectortest.SinkSystem {
	dir := t.TempDir()
	return connectortest.SinkSystem{
		Config: connector.Config{keyDir: dir, "topicNames": "orders"}, Topic: "orders", Queues: 3,
		Delivered: func(t testing.TB, _ int) (out []string) {
			files, err := filepath.Glob(filepath.Join(dir, "orders-*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				for line := range bytes.Lines(text) {
					out = append(out, string(bytes.TrimSuffix(line, []byte("\n"))))
				}
			}
			return out
		},
		Poison:      &record.Record{Topic: "orders", Value: []byte("two\nlines")},
		Unreachable: connector.Config{keyDir: filepath.Join(dir, "missing"), "topicNames": "orders"},
	}
}

func TestLinesSink(t *testing.T) { connectortest.RunSink(t, LinesSinkConnector{}, linesTarget) }
