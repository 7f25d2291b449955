package rmqsuite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// readAll reads a log until it has n records, and gives them as text.
func (e *env) readAll(l *rmq.Log, from int64, n int) []string {
	e.Helper()
	var got []string
	e.eventually("records in the log", func() bool {
		got = nil
		_, err := l.Read(e.ctx, from, func(en rmq.Entry) error {
			got = append(got, fmt.Sprintf("%d %s=%s", en.Offset, en.Key, en.Value))
			return nil
		})
		e.ok(err)
		return len(got) >= n
	})
	return got
}

func logOrder(e *env) {
	l := e.log()
	var want []string
	for batch := range 40 {
		var entries []rmq.Entry
		for i := range 1 + batch%5*4 {
			key, value := fmt.Sprintf("k%d", batch), fmt.Sprintf("v%d", i)
			entries = append(entries, rmq.Entry{Key: key, Value: []byte(value)})
			want = append(want, fmt.Sprintf("%d %s=%s", len(want), key, value))
		}
		first, err := l.Append(e.ctx, entries...)
		e.ok(err)
		if first != int64(len(want)-len(entries)) {
			e.Fatalf("batch %d stored at %d", batch, first)
		}
	}
	if diff := cmp.Diff(want, e.readAll(l, 0, len(want))); diff != "" {
		e.Errorf("read (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want[100:], e.readAll(l, 100, len(want)-100)); diff != "" {
		e.Errorf("read from 100 (-want +got):\n%s", diff)
	}
	low, high, err := l.Bounds(e.ctx)
	if err != nil || low != 0 || high != int64(len(want)) {
		e.Errorf("bounds %d to %d, %v", low, high, err)
	}
	stop := errors.New("enough")
	next, err := l.Read(e.ctx, 0, func(en rmq.Entry) error {
		if en.Offset == 40 {
			return stop
		}
		return nil
	})
	if next != 40 || !errors.Is(err, stop) {
		e.Errorf("stopped at %d with %v", next, err)
	}
}

func logContents(e *env) {
	l := e.log()
	before := time.Now().Add(-time.Minute)
	want := []rmq.Entry{
		{Offset: 0, Key: "unit/käse \"quoted\"", Value: []byte{0, 1, 2, 255}},
		{Offset: 1, Key: "", Value: []byte("no key")},
		{Offset: 2, Key: "large", Value: []byte(strings.Repeat("0123456789abcdef", 40<<10))},
	}
	for _, en := range want {
		_, err := l.Append(e.ctx, en)
		e.ok(err)
	}
	_, err := l.Append(e.ctx, want...)
	e.ok(err)
	for i := range 3 {
		en := want[i]
		en.Offset += 3
		want = append(want, en)
	}
	e.eventually("all records", func() bool { _, high, err := l.Bounds(e.ctx); return err == nil && high == 6 })
	var got []rmq.Entry
	last := before
	_, err = l.Read(e.ctx, 0, func(en rmq.Entry) error {
		if en.StoredAt.Before(last) {
			e.Errorf("record %d stored at %s, before %s", en.Offset, en.StoredAt, last)
		}
		last, en.StoredAt = en.StoredAt, time.Time{}
		got = append(got, en)
		return nil
	})
	e.ok(err)
	if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" { // bytewise, a large value takes seconds
		e.Errorf("read (-want +got):\n%s", diff)
	}
}

// follow follows a log in the background; its records come out of the channel, each once. stop ends it and gives its
// error.
func (e *env) follow(l *rmq.Log, from int64) (records <-chan string, stop func() error) {
	ctx, cancel := context.WithCancel(e.ctx)
	out, ended := make(chan string, 1000), make(chan error, 1)
	e.background(func() {
		next := from
		ended <- l.Follow(ctx, from, from, func(en rmq.Entry) error {
			if en.Offset < next { // again, after a reconnect
				return nil
			}
			next = en.Offset + 1
			out <- fmt.Sprintf("%d %s=%s", en.Offset, en.Key, en.Value)
			return nil
		})
	})
	return out, func() error { cancel(); return <-ended }
}

func (e *env) next(records <-chan string) string {
	e.Helper()
	select {
	case r := <-records:
		return r
	case <-e.ctx.Done():
		e.Fatal("gave up waiting for a record")
		return ""
	}
}

func followFollows(e *env) {
	l := e.log()
	_, err := l.Append(e.ctx, rmq.Entry{Key: "a", Value: []byte("0")})
	e.ok(err)
	records, stop := e.follow(l, 0)
	for i := range 20 {
		if got, want := e.next(records), fmt.Sprintf("%d a=%d", i, i); got != want {
			e.Fatalf("got %q, want %q", got, want)
		}
		_, err := l.Append(e.ctx, rmq.Entry{Key: "a", Value: fmt.Append(nil, i+1)})
		e.ok(err)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		e.Errorf("follow ended with %v", err)
	}
	failed := errors.New("fold failed")
	if err := l.Follow(e.ctx, 3, 3, func(rmq.Entry) error { return failed }); !errors.Is(err, failed) {
		e.Errorf("follow whose function failed ended with %v", err)
	}
}

func followEnds(e *env) {
	l := e.log()
	_, stop := e.follow(l, 0)
	e.eventually("a long poll", func() bool { _, high, err := l.Bounds(e.ctx); return err == nil && high == 0 })
	begun := time.Now()
	if err := stop(); !errors.Is(err, context.Canceled) {
		e.Errorf("follow ended with %v", err)
	}
	if took := time.Since(begun); took > 5*time.Second { // a long poll lasts 15 s
		e.Errorf("follow took %s to end", took)
	}
}

func logTruncated(e *env) {
	l := e.log()
	_, err := l.Append(e.ctx, rmq.Entry{Value: []byte("a")})
	e.ok(err)
	nothing := func(rmq.Entry) error { return nil }
	if _, err := l.Read(e.ctx, 50, nothing); !errors.Is(err, rmq.ErrTruncated) {
		e.Errorf("reading past the end: %v", err)
	}
	if err := l.Follow(e.ctx, 50, 50, nothing); !errors.Is(err, rmq.ErrTruncated) {
		e.Errorf("following past the end: %v", err)
	}
	if _, err := l.Read(e.ctx, -1, nothing); !errors.Is(err, rmq.ErrTruncated) {
		e.Errorf("reading before the start: %v", err)
	}
}

func logRetention(e *env) {
	kept, err := e.log().Retention(e.ctx)
	if err != nil || kept < time.Hour {
		e.Errorf("records are kept for %s, %v", kept, err)
	}
	gone := e.client.Log(rmq.Queue{Topic: e.name("nothing"), Broker: "broker-a"})
	if _, err := gone.Retention(e.ctx); !errors.Is(err, rmq.ErrTopicNotFound) {
		e.Errorf("a topic that is not there: %v", err)
	}
}

func logEmptyValue(e *env) {
	if _, err := e.log().Append(e.ctx, rmq.Entry{Key: "a"}); err == nil || rmq.IsTemporary(err) {
		e.Errorf("empty value: %v", err)
	}
}

func appendNotFound(e *env) {
	l := e.client.Log(rmq.Queue{Topic: e.name("nothing"), Broker: "broker-a"})
	if _, err := l.Append(e.ctx, rmq.Entry{Value: []byte("a")}); !errors.Is(err, rmq.ErrTopicNotFound) {
		e.Errorf("append: %v", err)
	}
}

// logStrays has others put records into a log: those that were written for another one are known as such, those of
// older workers are not.
func logStrays(e *env) {
	q, err := e.client.EnsureLogTopic(e.ctx, e.name("log"), rmq.LogPlace{})
	e.ok(err)
	l := e.client.Log(q)
	_, err = l.Append(e.ctx, rmq.Entry{Key: "own", Value: []byte("v")}, rmq.Entry{Value: []byte("v")})
	e.ok(err)
	s := e.client.NewSender(rmq.SenderConfig{})
	defer s.Close()
	a := newAnswers()
	for key, p := range map[string][]rmq.Property{
		"older": nil, "stray": {{Name: "connect-log", Value: "another"}}, "carried": {{Name: "connect-path", Value: "x"}},
	} {
		e.ok(
			s.Send(
				e.ctx,
				rmq.Message{Topic: q.Topic, Queue: q, Body: []byte("v"), Properties: append(p, rmq.Property{Name: "KEYS", Value: key})},
				a.done(key),
			),
		)
	}
	e.flush(s, a, 3)
	stray := map[string]bool{}
	e.readAll(l, 0, 5)
	_, err = l.Read(e.ctx, 0, func(en rmq.Entry) error {
		stray[en.Key] = en.Stray
		return nil
	})
	e.ok(err)
	if diff := cmp.Diff(map[string]bool{"own": false, "": false, "older": false, "stray": true, "carried": true}, stray); diff != "" {
		e.Errorf("strays (-want +got):\n%s", diff)
	}
}
