// Package restclient calls the resource API of a worker. Every error answer is a *restapi.Problem under errors.As.
package restclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// AnyRevision as ifMatch writes whatever is stored.
const AnyRevision int64 = -1

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 64 << 20

// ErrNotAWorker means that something else answered at the worker's address: a proxy, or a gateway while a Service is
// new. It says nothing about the resource asked for.
var ErrNotAWorker = errors.New("the answer is not a worker's")

// Client calls one worker, or any worker of a cluster behind one address. It is safe for concurrent use.
type Client struct {
	base  string
	token string
	http  *http.Client
}

// New makes a client for the worker at baseURL (http://host:port). An empty token sends none; a nil hc means a client
// of its own. hc must not limit the time of a whole request, or Watch ends early: use contexts.
func New(baseURL, token string, hc *http.Client) *Client {
	if hc == nil {
		hc = &http.Client{
			Transport: &http.Transport{MaxIdleConnsPerHost: 4, IdleConnTimeout: 90 * time.Second, ResponseHeaderTimeout: 30 * time.Second},
		}
	}
	return &Client{base: strings.TrimRight(baseURL, "/") + restapi.Prefix, token: token, http: hc}
}

// Cluster returns the view of the worker that answers.
func (c *Client) Cluster(ctx context.Context) (restapi.Cluster, error) {
	var out restapi.Cluster
	return out, c.call(ctx, request{method: http.MethodGet, path: "/cluster"}, &out)
}

// List returns all connectors, sorted by name.
func (c *Client) List(ctx context.Context) ([]restapi.Connector, error) {
	var out []restapi.Connector
	return out, c.call(ctx, request{method: http.MethodGet, path: "/connectors"}, &out)
}

// Get returns one connector; a *restapi.Problem of status 404 (see NotFound) when there is none.
func (c *Client) Get(ctx context.Context, name string) (restapi.Connector, error) {
	var out restapi.Connector
	return out, c.call(ctx, request{method: http.MethodGet, path: connectorPath(name)}, &out)
}

// Put creates or replaces the connector and returns it as stored. ifMatch is the revision that it replaces: 0 only
// creates, AnyRevision replaces whatever is there; otherwise the answer is a Problem of status 412 with the current
// one. Putting what is stored already changes nothing and answers with the revision it has.
func (c *Client) Put(ctx context.Context, conn restapi.Connector, ifMatch int64) (restapi.Connector, error) {
	var out restapi.Connector
	return out, c.call(ctx, request{method: http.MethodPut, path: connectorPath(conn.Name), body: conn, ifMatch: &ifMatch}, &out)
}

// SetState asks for Running, Paused or Stopped.
func (c *Client) SetState(ctx context.Context, name, state string) (restapi.Connector, error) {
	var out restapi.Connector
	r := request{method: http.MethodPut, path: connectorPath(name) + "/state", body: restapi.StateRequest{State: state}}
	return out, c.call(ctx, r, &out)
}

// Delete removes the connector, its tasks and its positions. It is no error (nil) when there is none.
func (c *Client) Delete(ctx context.Context, name string) error {
	err := c.call(ctx, request{method: http.MethodDelete, path: connectorPath(name)}, nil)
	if NotFound(err) {
		return nil
	}
	return err
}

// Restart stops and starts one task, or all of them (task -1). requestID makes a repeated call harmless; empty: a new
// one.
func (c *Client) Restart(ctx context.Context, name string, task int, requestID string) error {
	path := connectorPath(name)
	if task >= 0 {
		path += "/tasks/" + strconv.Itoa(task)
	}
	return c.call(ctx, request{method: http.MethodPost, path: path + "/restart", id: requestID}, nil)
}

// Status returns what the workers see of a connector.
func (c *Client) Status(ctx context.Context, name string) (restapi.ConnectorStatus, error) {
	var out restapi.ConnectorStatus
	return out, c.call(ctx, request{method: http.MethodGet, path: connectorPath(name) + "/status"}, &out)
}

// Tasks returns the connector's tasks with their configs.
func (c *Client) Tasks(ctx context.Context, name string) ([]restapi.Task, error) {
	var out []restapi.Task
	return out, c.call(ctx, request{method: http.MethodGet, path: connectorPath(name) + "/tasks"}, &out)
}

// Plugins returns the connector classes that can be used.
func (c *Client) Plugins(ctx context.Context) ([]restapi.Plugin, error) {
	var out []restapi.Plugin
	return out, c.call(ctx, request{method: http.MethodGet, path: "/plugins"}, &out)
}

// Validate checks a connector without storing it.
func (c *Client) Validate(ctx context.Context, conn restapi.Connector) (restapi.Validation, error) {
	var out restapi.Validation
	return out, c.call(ctx, request{method: http.MethodPut, path: "/validate", body: conn}, &out)
}

// NotFound reports whether err is a worker's answer that there is no such resource.
func NotFound(err error) bool { return hasStatus(err, http.StatusNotFound) }

// Conflict reports whether err is a worker's answer that the resource is no longer what the call replaces; the Problem
// has the current one.
func Conflict(err error) bool {
	return hasStatus(err, http.StatusConflict) || hasStatus(err, http.StatusPreconditionFailed)
}

// Invalid reports whether err is a worker's refusal of the request itself: only another request can succeed.
func Invalid(err error) bool {
	return hasStatus(err, http.StatusBadRequest) || hasStatus(err, http.StatusUnprocessableEntity) ||
		hasStatus(err, http.StatusRequestEntityTooLarge) || hasStatus(err, http.StatusUnsupportedMediaType)
}

// Gone reports whether err is the answer to a Watch whose revision the worker no longer knows: watch from 0.
func Gone(err error) bool { return hasStatus(err, http.StatusGone) }

func hasStatus(err error, status int) bool {
	var p *restapi.Problem
	return errors.As(err, &p) && p.Status == status
}

type request struct {
	method, path string
	query        url.Values
	body         any
	ifMatch      *int64
	id           string
}

func connectorPath(name string) string { return "/connectors/" + url.PathEscape(name) }

// call sends the request and decodes the answer into out, unless out is nil.
func (c *Client) call(ctx context.Context, r request, out any) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer func() {
		drain(resp.Body)
		_ = resp.Body.Close()
	}()
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return fmt.Errorf("decoding the answer of %s %s: %w", r.method, r.path, err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	req, err := c.build(ctx, r)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("calling worker: %w", err)
	}
	if resp.StatusCode < 300 {
		return resp, nil
	}
	err = problemOf(resp)
	drain(resp.Body)
	_ = resp.Body.Close()
	if errors.Is(err, ErrNotAWorker) {
		c.http.CloseIdleConnections() // the next call asks the address again
	}
	return nil, err
}

func (c *Client) build(ctx context.Context, r request) (*http.Request, error) {
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("encoding the request: %w", err)
		}
		body = bytes.NewReader(b)
	}
	u := c.base + r.path
	if len(r.query) > 0 {
		u += "?" + r.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u, body)
	if err != nil {
		return nil, fmt.Errorf("building the request: %w", err)
	}
	if r.body != nil || r.method == http.MethodPost { // workers ask for it on every write
		req.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	if r.id != "" {
		req.Header.Set(restapi.IdempotencyHeader, r.id)
	}
	setIfMatch(req.Header, r.ifMatch)
	return req, nil
}

func setIfMatch(h http.Header, ifMatch *int64) {
	switch {
	case ifMatch == nil || *ifMatch == AnyRevision:
	case *ifMatch == 0:
		h.Set("If-None-Match", "*")
	default:
		h.Set("If-Match", `"`+strconv.FormatInt(*ifMatch, 10)+`"`)
	}
}

// problemOf reads the Problem of an error answer; an answer that has none (a proxy's page) becomes one.
func problemOf(resp *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("reading the answer of status %d: %w", resp.StatusCode, err)
	}
	p := &restapi.Problem{}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), restapi.ProblemMediaType) && json.Unmarshal(body, p) == nil {
		p.Status = resp.StatusCode
		return p
	}
	return fmt.Errorf("%w: %s", ErrNotAWorker, resp.Status)
}

// drain reads a little of what is left, so that the connection can be used again.
func drain(body io.Reader) { _, _ = io.CopyN(io.Discard, body, 64<<10) }
