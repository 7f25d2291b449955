package rest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/access"
	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/limit"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

const (
	// pingInterval is how often a watch stream shows that it lives.
	pingInterval = 5 * time.Second
	// lineTimeout is how long a watcher may take to read what it was sent, before the stream ends.
	lineTimeout = 15 * time.Second
)

// watcher streams what the hub tells.
type watcher struct {
	hub     *hub
	streams limit.Streams
	metrics *metrics
	// leased says why there is nothing new to tell, if there is not; refusal why a caller may not read on, if it may not.
	leased  func() error
	refusal func(r *http.Request, now time.Time) *access.Refusal
}

// watch streams events as NDJSON; see restapi.WatchEvent.
func (s *watcher) watch(w http.ResponseWriter, r *http.Request) error {
	from, err := fromRevision(r)
	if err != nil {
		return err
	}
	if err := s.leased(); err != nil {
		return answer.Problem(http.StatusServiceUnavailable, restapi.ProblemNotReady, "Not ready", "the worker has nothing new to tell: %s", err)
	}
	events, revision, changed, ok := s.hub.since(from)
	if from == 0 {
		if events, revision, changed, err = s.whole(r); err != nil {
			return err
		}
	} else if !ok {
		return answer.Problem(http.StatusGone, restapi.ProblemGone, "Revision is gone",
			"revision %d is too old, or another worker's: watch without from", from)
	}
	closed, reached := s.streams.Open(r.RemoteAddr)
	if closed == nil {
		s.metrics.tooMany.WithLabelValues(reached).Inc()
		return answer.Problem(http.StatusTooManyRequests, restapi.ProblemTooMany, "Too many watch streams",
			"the worker's limit of watch streams is reached (%s): end some, or raise httpStreams and httpStreamsPerAddress", reached)
	}
	defer closed()
	s.stream(w, r, sent{events, revision, changed})
	return nil
}

// sent is what a stream begins with: events up to a revision, and what tells of later ones.
type sent struct {
	events   []restapi.WatchEvent
	revision int64
	changed  <-chan struct{}
}

// stream sends events until the caller goes, falls behind what is kept, or may not read on.
func (s *watcher) stream(w http.ResponseWriter, r *http.Request, from sent) {
	if rec, isRecorder := w.(*recorder); isRecorder {
		rec.stream = true
	}
	events, revision, changed := from.events, from.revision, from.changed
	s.metrics.streams.Inc()
	defer s.metrics.streams.Dec()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	line := &lines{to: w, control: http.NewResponseController(w)}
	_ = line.control.SetReadDeadline(time.Time{})
	events = append(events, restapi.WatchEvent{Revision: revision, Type: restapi.EventSynced})
	ping := time.NewTicker(pingInterval)
	defer ping.Stop()
	for {
		if line.send(events) != nil { // the caller has gone, or does not read
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-ping.C:
			if s.leased() != nil || s.refusal(r, time.Now()) != nil { // its token, or its certificate, may have ended since
				return
			}
			events = []restapi.WatchEvent{{Revision: revision, Type: restapi.EventPing}}
		case <-changed:
			var ok bool
			if events, revision, changed, ok = s.hub.since(revision); !ok {
				return
			}
		}
	}
}

func fromRevision(r *http.Request) (int64, error) {
	text := r.URL.Query().Get("from")
	if text == "" {
		return 0, nil
	}
	from, err := strconv.ParseInt(text, 10, 64)
	if err != nil || from < 0 {
		return 0, answer.Malformed("from must be the revision of an event, not %q", text)
	}
	return from, nil
}

// whole returns the whole state, waiting until it was read for the first time.
func (s *watcher) whole(r *http.Request) (events []restapi.WatchEvent, revision int64, changed <-chan struct{}, err error) {
	for {
		events, revision, changed, ok := s.hub.snapshot()
		if ok {
			return events, revision, changed, nil
		}
		select {
		case <-r.Context().Done():
			return nil, 0, nil, r.Context().Err()
		case <-changed:
		}
	}
}

// lines writes events, each as one line.
type lines struct {
	to      http.ResponseWriter
	control *http.ResponseController
}

func (l *lines) send(events []restapi.WatchEvent) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, ev := range events {
		if err := enc.Encode(ev); err != nil {
			return err
		}
	}
	_ = l.control.SetWriteDeadline(time.Now().Add(lineTimeout))
	if _, err := l.to.Write(b.Bytes()); err != nil {
		return err
	}
	return l.control.Flush()
}
