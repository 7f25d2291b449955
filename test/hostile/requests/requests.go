// Package requests is what somebody sends to a worker's REST API who means ill, with its token and without.
package requests

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// ErrTaken means that a worker took what it has to refuse, or the other way round.
var ErrTaken = errors.New("another answer than expected")

// Worker is where they are sent to.
type Worker struct {
	// Address is host:port.
	Address, Token string
	// Kafka is an address for connectors; nothing of them moves records.
	Kafka string
}

// Kind is one kind of requests; Send sends the i-th one.
type Kind struct {
	Name string
	Send func(ctx context.Context, w Worker, i int) error
}

// Kinds are those that are answered at once.
func Kinds() []Kind {
	return []Kind{
		{"a config of 200 KiB with 1,024 tasks", largeConfig},
		{"10,000 topics in one key", manyTopics},
		{"512 keys, and 513", manyKeys},
		{"keys that are there twice", duplicates},
		{"NUL and control characters", characters},
		{"JSON in 100,000 levels", deep},
		{"names of every kind", names},
		{"wrong hosts", wrongHost},
		{"origins of others", foreignOrigin},
		{"no token, and wrong ones", wrongToken},
	}
}

// ask sends one request, on a connection that others use, too, and says with which status it was answered.
func (w Worker) ask(ctx context.Context, method, path string, body []byte, change func(*http.Request)) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+w.Address+path, bytes.NewReader(body))
	if err != nil {
		return 0, "", fmt.Errorf("asking a worker: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	if w.Token != "" {
		req.Header.Set("Authorization", "Bearer "+w.Token)
	}
	if change != nil {
		change(req)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", fmt.Errorf("asking a worker: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, "", fmt.Errorf("reading a worker's answer: %w", err)
	}
	return resp.StatusCode, string(text), nil
}

// want sends a request that has to be answered with one of the statuses.
func (w Worker) want(ctx context.Context, method, path string, body []byte, change func(*http.Request), statuses ...int) error {
	got, text, err := w.ask(ctx, method, path, body, change)
	if err != nil {
		return err
	}
	for _, status := range statuses {
		if got == status {
			return nil
		}
	}
	return fmt.Errorf("%w: %s %.60s: %d %.200s, want %d", ErrTaken, method, path, got, text, statuses)
}

func (w Worker) connector(name string, tasks int, more map[string]string) []byte {
	cfg := map[string]string{"kafka.topics": "hostile-none", "kafka.bootstrap.server": w.Kafka}
	maps.Copy(cfg, more)
	class := cfg["connector.class"]
	delete(cfg, "connector.class")
	body, err := json.Marshal(
		restapi.Connector{Name: name, Class: cmp.Or(class, "KafkaSource"), State: restapi.StateStopped, MaxTasks: tasks, Config: cfg},
	)
	if err != nil {
		panic(fmt.Sprintf("encoding strings: %v", err))
	}
	return body
}

const connectors = restapi.Prefix + "/connectors"

// change stores another config of a connector of Own.
func (w Worker) change(ctx context.Context, name string, body []byte) error {
	return w.want(ctx, http.MethodPut, connectors+"/"+name, body, nil, http.StatusOK)
}

// The connectors that are changed again and again. They are stopped, and have no tasks.
const (
	largeName = "large"
	keysName  = "keys"
)

// Own are connectors that must be there before: one that comes or goes has others' tasks dealt again, as it should.
func (w Worker) Own() []restapi.Connector {
	var out []restapi.Connector
	for _, name := range []string{largeName, keysName} {
		var c restapi.Connector
		if err := json.Unmarshal(w.connector(name, 1, nil), &c); err != nil {
			panic(fmt.Sprintf("decoding what was encoded: %v", err))
		}
		out = append(out, c)
	}
	return out
}

func largeConfig(ctx context.Context, w Worker, i int) error {
	more := map[string]string{}
	for j := range 100 {
		more[fmt.Sprintf("unknown.%d", j)] = strings.Repeat(string(rune('a'+i%26)), 2000)
	}
	body := w.connector(largeName, 1024, more)
	if i%2 == 0 {
		return w.want(ctx, http.MethodPut, restapi.Prefix+"/validate", body, nil, http.StatusOK)
	}
	return w.change(ctx, largeName, body)
}

func manyTopics(ctx context.Context, w Worker, i int) error {
	var topics []string
	for j := range 10_000 {
		topics = append(topics, fmt.Sprintf("t%d", j))
	}
	class, key := "KafkaSource", "kafka.topics"
	if i%2 == 0 {
		class, key = "KafkaSink", "topicNames"
	}
	body := w.connector("topics", 1, map[string]string{"connector.class": class, key: strings.Join(topics, ",")})
	return w.want(ctx, http.MethodPost, connectors, body, nil, http.StatusUnprocessableEntity)
}

func manyKeys(ctx context.Context, w Worker, i int) error {
	more := map[string]string{}
	for j := range 508 + i%2*2 { // with class, tasks and two of the connector's own
		more[fmt.Sprintf("unknown.%d", j)] = fmt.Sprint(i)
	}
	if i%2 == 0 {
		return w.change(ctx, keysName, w.connector(keysName, 1, more))
	}
	return w.want(ctx, http.MethodPut, connectors+"/"+keysName, w.connector(keysName, 1, more), nil, http.StatusUnprocessableEntity)
}

func duplicates(ctx context.Context, w Worker, i int) error {
	body := []string{`{"name":"a","name":"b"}`, `{"name":"a","Name":"b"}`, `{"name":"a","config":{"k":"1","k":"2"}}`}[i%3]
	return w.want(ctx, http.MethodPost, connectors, []byte(body), nil, http.StatusBadRequest)
}

func characters(ctx context.Context, w Worker, i int) error {
	value := []string{"a\x00b", "a\x1bb", "a\x7fb", "\u0085"}[i%4]
	if i%2 == 0 {
		return w.want(
			ctx,
			http.MethodPost,
			connectors,
			w.connector("chars", 1, map[string]string{"kafka.client.id": value}),
			nil,
			http.StatusUnprocessableEntity,
		)
	}
	return w.want(
		ctx,
		http.MethodPost,
		connectors,
		w.connector("chars", 1, map[string]string{value: "x"}),
		nil,
		http.StatusUnprocessableEntity,
	)
}

func deep(ctx context.Context, w Worker, i int) error {
	body := []string{strings.Repeat("[", 100_000), strings.Repeat(`{"config":`, 100_000),
		`{"config":{"a":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}}"}[i%3]
	return w.want(ctx, http.MethodPost, connectors, []byte(body), nil, http.StatusBadRequest)
}

func names(ctx context.Context, w Worker, i int) error {
	odd := []string{"%2e%2e", "a%00b", "..%2f..%2fetc%2fpasswd", "%F0%9F%9A%80", strings.Repeat("n", 20_000), "%20",
		"a%0d%0ab", "con%7Cnul", "%25", "in%2f0", "%C0%AE"}[i%11]
	method := []string{http.MethodGet, http.MethodDelete, http.MethodPut}[i/11%3]
	return w.want(
		ctx,
		method,
		connectors+"/"+odd+"/status",
		[]byte("{}"),
		nil,
		http.StatusNotFound,
		http.StatusMethodNotAllowed,
		http.StatusUnprocessableEntity,
		http.StatusBadRequest,
	)
}

func wrongHost(ctx context.Context, w Worker, i int) error {
	host := []string{"evil.example", "evil.example:80", "169.254.169.254.nip.example", "localhost.evil.example"}[i%4]
	return w.want(ctx, http.MethodGet, connectors, nil, func(r *http.Request) { r.Host = host }, http.StatusForbidden)
}

func foreignOrigin(ctx context.Context, w Worker, i int) error {
	name, value := "Origin", "http://evil.example"
	if i%2 == 0 {
		name, value = "Sec-Fetch-Site", "cross-site"
	}
	return w.want(
		ctx,
		http.MethodPost,
		connectors,
		w.connector("page", 1, nil),
		func(r *http.Request) { r.Header.Set(name, value) },
		http.StatusForbidden,
	)
}

func wrongToken(ctx context.Context, w Worker, i int) error {
	w.Token = []string{"", "wrong", strings.Repeat("w", 8000)}[i%3]
	return w.want(ctx, http.MethodGet, connectors, nil, nil, http.StatusUnauthorized)
}
