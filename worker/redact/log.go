package redact

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
)

// Log returns a logger to which clean takes the secrets out of messages, errors and values. Names of values are left as
// they are.
func Log(log logr.Logger, clean func(string) string) logr.Logger {
	if log.GetSink() == nil { // it writes nothing
		return log
	}
	return log.WithSink(sink{log.GetSink(), clean})
}

type sink struct {
	logr.LogSink
	clean func(string) string
}

// Init does nothing: the sink below is in use already.
func (s sink) Init(logr.RuntimeInfo) {}

// Info writes a line.
func (s sink) Info(level int, msg string, values ...any) {
	s.LogSink.Info(level, s.clean(msg), s.values(values)...)
}

// Error writes an error.
func (s sink) Error(err error, msg string, values ...any) {
	if err != nil {
		err = errors.New(s.clean(err.Error()))
	}
	s.LogSink.Error(err, s.clean(msg), s.values(values)...)
}

// WithValues returns a sink that adds the values to each line.
func (s sink) WithValues(values ...any) logr.LogSink {
	return sink{s.LogSink.WithValues(s.values(values)...), s.clean}
}

// WithName returns a sink with a longer name.
func (s sink) WithName(name string) logr.LogSink { return sink{s.LogSink.WithName(name), s.clean} }

// values cleans every second one: those behind their names.
func (s sink) values(pairs []any) []any {
	out := make([]any, len(pairs))
	for i, v := range pairs {
		if out[i] = v; i%2 == 1 {
			out[i] = s.value(v)
		}
	}
	return out
}

func (s sink) value(v any) any {
	switch v := v.(type) {
	case nil, bool, int, int8, int16, int32, int64, uint, uint8, uint16, uint32, uint64, uintptr, float32, float64, time.Time, time.Duration:
		return v
	case string:
		return s.clean(v)
	case []byte:
		return s.clean(string(v))
	case logr.Marshaler:
		return s.value(v.MarshalLog())
	}
	return s.clean(fmt.Sprintf("%+v", v))
}
