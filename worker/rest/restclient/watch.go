package restclient

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// SilenceLimit is how long a watch stream may stay silent before Watch gives it up: three pings.
const SilenceLimit = 15 * time.Second

// maxLine bounds one event, in bytes.
const maxLine = 16 << 20

// ErrSilent means that a watch stream sent nothing, not even a ping, for SilenceLimit.
var ErrSilent = errors.New("watch stream went silent")

// Watch streams the state of the cluster to fn, from the revision on (0: the whole state first, see restapi's event
// types); fn is called from one goroutine and ends the stream by an error. Watch returns when the stream ends, for
// whatever reason, with a non-nil error: fn's own, ctx's, ErrSilent, io.ErrUnexpectedEOF (the worker ended it), or a
// Problem: after status 410 (Gone) watch from 0. It does not reconnect.
func (c *Client) Watch(ctx context.Context, from int64, fn func(restapi.WatchEvent) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(SilenceLimit, func() { cancel(ErrSilent) })
	defer quiet.Stop()
	r := request{method: http.MethodGet, path: "/watch"}
	if from > 0 {
		r.query = url.Values{"from": {strconv.FormatInt(from, 10)}}
	}
	resp, err := c.send(ctx, r)
	if err != nil {
		return orCause(ctx, err)
	}
	defer func() { _ = resp.Body.Close() }()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 64<<10), maxLine)
	for lines.Scan() {
		quiet.Reset(SilenceLimit)
		var ev restapi.WatchEvent
		if err := json.Unmarshal(lines.Bytes(), &ev); err != nil {
			return fmt.Errorf("decoding a watch event: %w", err)
		}
		if err := fn(ev); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return orCause(ctx, fmt.Errorf("reading the watch stream: %w", err))
	}
	return orCause(ctx, fmt.Errorf("reading the watch stream: %w", io.ErrUnexpectedEOF))
}

// orCause prefers why the context ended to what its end broke.
func orCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}
