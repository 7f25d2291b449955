package rest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/store"
)

// What one server takes on, and for how long.
const (
	readTimeout   = 20 * time.Second
	answerTimeout = writeTimeout + 10*time.Second
)

// front is what every request goes through on its way to a handler, and every error on its way back.
type front struct {
	ready   func() error
	metrics *metrics
	// show is a stored connector as the API answers it.
	show func(store.Connector) restapi.Connector
	log  logr.Logger
}

// around bounds every request in size and time, and turns panics into answers.
func (f *front) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		now := time.Now()
		_ = control.SetReadDeadline(now.Add(readTimeout))
		_ = control.SetWriteDeadline(now.Add(answerTimeout))
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		r = withRequestID(r)
		err := service.Guard(func() error { next.ServeHTTP(w, r); return nil })
		if err != nil {
			f.fail(w, r, err)
		}
	})
}

// bodiless takes no time for bodies: nothing on the port of the probes has any.
func bodiless(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now())
		}
		next.ServeHTTP(w, r)
	})
}

// route holds for one route: not before the worker is ready, and counted.
func (f *front) route(path string, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w, code: http.StatusOK}
		if err := f.ready(); err != nil {
			f.fail(rec, r, answer.Problem(http.StatusServiceUnavailable, restapi.ProblemNotReady, "Not ready", "the worker is not ready: %s", err))
		} else {
			next(rec, r)
		}
		f.metrics.requests.WithLabelValues(path, fmt.Sprint(rec.code)).Inc()
		if !rec.stream {
			f.metrics.took.WithLabelValues(path).Observe(time.Since(start).Seconds())
		}
	})
}

// dialect serves the resource API's routes, behind what holds for each of them.
func (f *front) dialect(routes map[string]handler) http.Handler {
	mux := http.NewServeMux()
	for pattern, h := range routes {
		method, path, _ := strings.Cut(pattern, " ")
		mux.Handle(method+" "+restapi.Prefix+path, f.route(restapi.Prefix+path, func(w http.ResponseWriter, r *http.Request) {
			err := typed(r)
			if err == nil {
				err = h(w, r)
			}
			if err != nil {
				f.fail(w, r, err)
			}
		}))
	}
	return f.strict(mux)
}

// strict answers what no route matches with a problem: 404, or 405 with the methods that there are.
func (f *front) strict(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &bare{header: w.Header()}
		mux.ServeHTTP(probe, r)
		switch probe.code {
		case http.StatusMethodNotAllowed:
			f.fail(
				w,
				r,
				answer.Problem(probe.code, "about:blank", "Method not allowed", "%s can be asked with %s", r.URL.Path, w.Header().Get("Allow")),
			)
		default:
			f.fail(w, r, answer.Problem(http.StatusNotFound, restapi.ProblemNotFound, "Not found", "there is no %s", r.URL.Path))
		}
	})
}

type requestIDKey struct{}

// withRequestID gives the request the id that its caller chose, or a new one.
func withRequestID(r *http.Request) *http.Request {
	id := r.Header.Get(restapi.IdempotencyHeader)
	if id == "" || len(id) > 128 {
		var b [12]byte
		_, _ = rand.Read(b[:])
		id = hex.EncodeToString(b[:])
	}
	return r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
}

func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestIDKey{}).(string)
	return id
}

// recorder remembers the status code of an answer, and whether it is a stream.
type recorder struct {
	http.ResponseWriter
	code   int
	stream bool
}

// WriteHeader remembers the code.
func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController find the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// bare keeps the headers of an answer and drops its body.
type bare struct {
	header http.Header
	code   int
}

// Header returns the headers that are kept.
func (b *bare) Header() http.Header { return b.header }

// Write drops the body.
func (b *bare) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader remembers the code.
func (b *bare) WriteHeader(code int) { b.code = code }
