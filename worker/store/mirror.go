package store

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

const (
	fileLogPeriod = time.Minute
	// lastFlush is how long the last write of the files may take. It has a time of its own: what was stopped before may
	// have used up all that there was.
	lastFlush = 2 * time.Second
)

// mirror keeps the stores' local files, and restores a topic that was lost from them. A disk that is full or slow holds
// nothing else up: the topics are what counts.
type mirror struct {
	cluster  string
	interval time.Duration
	log      logr.Logger
	writes   *prometheus.CounterVec
	sheets   []*sheet

	group  service.Group
	busy   chan struct{} // capacity 1: held while files are written
	logged time.Time
	disk   directory
}

// sheet is one file: a part of one store's fold.
type sheet struct {
	name, topic string
	table       *keyedlog.Table
	target      keyedlog.Fold
	part        storefold.Sheet
	saved       int64 // version of the fold that the file has
	// erasures counts what was erased from the part, which may hold secrets; nil if it holds none. It is called under the
	// table's lock.
	erasures func() int64
	erased   int64 // erasures at the last try to write the file
}

func newMirror(opts Options) *mirror {
	return &mirror{
		cluster: opts.ClusterID, interval: opts.FlushInterval, log: opts.Log,
		writes: promauto.With(opts.Registerer).NewCounterVec(prometheus.CounterOpts{
			Name: "connect_worker_store_file_writes_total",
			Help: "Local files that were written, by file and result.",
		}, []string{"file", "result"}),
		busy: make(chan struct{}, 1),
		disk: directory{path: opts.Dir, foreign: map[string]bool{}},
	}
}

// recover puts the sheets' values into a fold whose topic ends before what the files have read.
func (m *mirror) recover(end int64, sheets ...*sheet) (keys []string, reach int64) {
	for _, s := range sheets {
		doc, err := m.disk.load(s.name)
		if err != nil {
			m.log.Error(err, "Reading a local file failed; going on without what it lacks", "file", s.name)
		}
		if doc == nil {
			continue
		}
		if doc.Cluster != m.cluster || doc.Topic != s.topic {
			m.disk.disown(s.name)
			m.log.Info("Taking nothing from a local file of another cluster or topic; it is kept under another name", "file", s.name,
				"fileCluster", doc.Cluster, "fileTopic", doc.Topic)
			continue
		}
		if doc.Read <= end {
			continue
		}
		keys = append(keys, m.restore(s, doc)...)
		reach = max(reach, doc.Read)
	}
	return keys, reach
}

func (m *mirror) restore(s *sheet, doc *document) []string {
	var keys []string
	for _, connector := range slices.Sorted(maps.Keys(doc.Connectors)) {
		values, err := s.part.Records(doc.Connectors[connector])
		if err != nil {
			m.log.Error(err, "Ignoring a connector's values in a local file", "file", s.name, "connector", connector)
		}
		for _, v := range values {
			switch verdict, err := s.target.Apply(rmq.Entry{Key: v.Key, Value: v.Value, StoredAt: time.Now()}); {
			case verdict == replica.Accepted:
				keys = append(keys, v.Key)
			case err != nil:
				m.log.Error(err, "Ignoring a value in a local file", "file", s.name, "connector", connector)
			}
		}
	}
	return keys
}

// service writes what has changed at an interval and at the end, and at once where secrets may have been erased.
func (m *mirror) service() service.Service {
	return service.Service{Name: "store-files", Run: m.run, Stop: m.stop}
}

func (m *mirror) stop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
	defer cancel()
	return m.flush(ctx)
}

func (m *mirror) run(ctx context.Context) error {
	ticker := time.NewTicker(m.interval)
	defer ticker.Stop()
	erased, stop := m.watchErasures()
	defer stop()
	for {
		if err := m.flush(ctx); err != nil {
			return nil // ctx ended while the disk hung
		}
		for due := false; !due; {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
				due = true
			case <-erased:
				due = m.outOfDate()
			}
		}
	}
}

// watchErasures tells of changes of the table whose files may hold secrets.
func (m *mirror) watchErasures() (changed <-chan struct{}, stop func()) {
	for _, s := range m.sheets {
		if s.erasures != nil {
			return s.table.Watch()
		}
	}
	return nil, func() {}
}

// outOfDate says whether a file may hold what was erased, and no write of it has been tried since. One that failed is
// repeated at the interval.
func (m *mirror) outOfDate() bool {
	return slices.ContainsFunc(m.sheets, func(s *sheet) (out bool) {
		if s.erasures != nil {
			s.table.Snapshot(func(int64, int64) { out = s.erasures() != s.erased })
		}
		return out
	})
}

// errHung is for the user: what the files lack comes from the topics.
var errHung = errors.New("local files are not up to date: the local disk does not answer")

// flush writes what has changed. It gives up waiting, not writing, when ctx ends: a hung disk cannot be interrupted.
func (m *mirror) flush(ctx context.Context) error {
	select {
	case m.busy <- struct{}{}:
	case <-ctx.Done():
		return errHung
	}
	done := make(chan struct{})
	m.group.Go(func() {
		defer func() { <-m.busy; close(done) }()
		for _, s := range m.sheets {
			m.write(s)
		}
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errHung
	}
}

func (m *mirror) write(s *sheet) {
	var parts map[string]any
	var latest int64
	doc := &document{V: storefold.Version, Cluster: m.cluster, Topic: s.topic, Connectors: map[string]json.RawMessage{}}
	s.table.Snapshot(func(version, reach int64) {
		if version != s.saved {
			parts, latest, doc.Read = s.part.Collect(), version, reach
		}
		if s.erasures != nil {
			s.erased = s.erasures()
		}
	})
	if parts == nil {
		return
	}
	for connector, part := range parts {
		doc.Connectors[connector] = storefold.Encode(part)
	}
	if err := m.disk.save(s.name, doc, s.erasures != nil); err != nil {
		m.writes.WithLabelValues(s.name, "failed").Inc()
		m.complain(err, s)
		return
	}
	m.writes.WithLabelValues(s.name, "written").Inc()
	s.saved = latest
}

func (m *mirror) complain(err error, s *sheet) {
	if time.Since(m.logged) < fileLogPeriod {
		return
	}
	m.logged = time.Now()
	message := "Writing a local file failed; going on without, free space or check the directory's rights"
	if s.erasures != nil {
		message += "; until then it may hold secrets of connectors that were changed or deleted"
	}
	m.log.Error(err, message, "file", s.name)
}
