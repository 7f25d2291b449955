package remoting

import (
	"bufio"
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// peer is the far end of a pool's connections. Each gets what serve does with it.
type peer struct {
	serve func(nc net.Conn, requests <-chan *Command)
	mu    sync.Mutex
	dials int
	wg    sync.WaitGroup
}

func (p *peer) dial(context.Context, string, string) (net.Conn, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dials++
	ours, theirs := net.Pipe()
	requests := make(chan *Command, 100)
	p.wg.Go(func() {
		defer close(requests)
		r := bufio.NewReader(theirs)
		for {
			c, err := ReadFrame(r)
			if err != nil {
				return
			}
			requests <- c
		}
	})
	p.wg.Go(func() { defer theirs.Close(); p.serve(theirs, requests) })
	return ours, nil
}

func answer(nc net.Conn, to *Command, body string) {
	c := &Command{Flag: FlagResponse, Opaque: to.Opaque, Body: []byte(body)}
	_, _ = nc.Write(append(c.AppendHead(nil), c.Body...))
}

func echo(nc net.Conn, requests <-chan *Command) {
	for r := range requests {
		answer(nc, r, string(r.Body))
	}
}

// silent answers requests that have a body.
func silent(nc net.Conn, requests <-chan *Command) {
	for r := range requests {
		if len(r.Body) > 0 {
			answer(nc, r, string(r.Body))
		}
	}
}

// bubble runs test with a pool whose peer serves like that.
func bubble(t *testing.T, serve func(net.Conn, <-chan *Command), test func(t *testing.T, pool *Pool, p *peer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &peer{serve: serve}
		pool := NewPool(p.dial, 3*time.Second, Credentials{})
		test(t, pool, p)
		pool.Close()
		p.wg.Wait()
	})
}

func wantTook(t *testing.T, begun time.Time, want time.Duration) {
	t.Helper()
	if took := time.Since(begun); took != want { // exact: the bubble's clock moves only when all wait
		t.Errorf("took %s, want %s", took, want)
	}
}

func TestCallsShareAConnection(t *testing.T) {
	bubble(t, echo, func(t *testing.T, pool *Pool, p *peer) {
		var wg sync.WaitGroup
		for _, body := range []string{"a", "b", "c", "d"} {
			wg.Go(func() {
				got, err := pool.Call(t.Context(), "x:1", "send", &Command{Body: []byte(body)})
				if err != nil || string(got.Body) != body {
					t.Errorf("%s: %v, %v", body, got, err)
				}
			})
		}
		wg.Wait()
		if _, err := pool.Call(t.Context(), "x:1", "pull", &Command{Body: []byte("a")}); err != nil || p.dials != 2 {
			t.Errorf("%v; %d dials, want one for each purpose", err, p.dials)
		}
	})
}

func TestTimeOutResetsTheConnection(t *testing.T) {
	bubble(t, silent, func(t *testing.T, pool *Pool, p *peer) {
		other := make(chan error, 1)
		p.wg.Go(func() {
			_, err := pool.Call(t.Context(), "x:1", "send", &Command{})
			other <- err
		})
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		begun := time.Now()
		if _, err := pool.Call(ctx, "x:1", "send", &Command{}); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("error %v", err)
		}
		wantTook(t, begun, 2*time.Second)
		if err := <-other; !errors.Is(err, ErrConnection) {
			t.Errorf("the other request on it: %v", err)
		}
		wantTook(t, begun, 2*time.Second)
		if _, err := pool.Call(t.Context(), "x:1", "send", &Command{Body: []byte("x")}); err != nil || p.dials != 2 {
			t.Errorf("afterwards: %v, %d dials", err, p.dials)
		}
	})
}

func TestCancelledRequest(t *testing.T) {
	cases := map[string]struct {
		reset     bool
		wantDials int
	}{
		"a long poll leaves the connection alone": {false, 1},
		"a send takes its connection with it":     {true, 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, silent, func(t *testing.T, pool *Pool, p *peer) {
				why := errors.New("lease is over")
				ctx, cancel := context.WithCancelCause(t.Context())
				begun := time.Now()
				time.AfterFunc(time.Second, func() { cancel(why) })
				if _, err := pool.Call(ctx, "x:1", "any", &Command{Reset: tc.reset}); !errors.Is(err, why) {
					t.Errorf("error %v", err)
				}
				wantTook(t, begun, time.Second)
				if _, err := pool.Call(t.Context(), "x:1", "any", &Command{Body: []byte("x")}); err != nil || p.dials != tc.wantDials {
					t.Errorf("afterwards: %v, %d dials", err, p.dials)
				}
			})
		})
	}
}

func TestStalledPeerHoldsNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe() // nobody reads the other end
		pool := NewPool(func(context.Context, string, string) (net.Conn, error) { return ours, nil }, time.Second, Credentials{})
		begun := time.Now()
		var wg sync.WaitGroup
		for i := range 3 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i+1)*time.Second)
				defer cancel()
				if _, err := pool.Call(ctx, "x:1", "send", &Command{Body: make([]byte, 1<<20)}); err == nil {
					t.Error("answered")
				}
			})
		}
		wg.Wait()
		wantTook(t, begun, time.Second) // the first time-out resets the connection under all
		theirs.Close()
		pool.Close()
	})
}

// What came too late to be written was never on its way: who asks when bytes of a request last left is not told of it.
func TestARequestThatIsNotWrittenSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe() // nobody reads the other end
		pool := NewPool(func(context.Context, string, string) (net.Conn, error) { return ours, nil }, time.Second, Credentials{})
		var holds sync.WaitGroup
		holds.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			_, _ = pool.Call(ctx, "x:1", "send", &Command{Body: make([]byte, 1<<20)})
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		waits := Command{Body: []byte("x")}
		if _, err := pool.Call(ctx, "x:1", "send", &waits); err == nil || !waits.Written.IsZero() {
			t.Errorf("behind another one: %v, written at %v", err, waits.Written)
		}
		theirs.Close()
		pool.Close()
		holds.Wait()
	})
}

func TestBrokenConnectionFailsAllAtOnce(t *testing.T) {
	cases := map[string]struct {
		end  func(pool *Pool)
		want error
	}{
		"the peer goes":        {nil, ErrConnection},
		"the purpose is ended": {func(pool *Pool) { pool.Drop("any") }, ErrConnection},
		"the pool is closed":   {func(pool *Pool) { pool.Close() }, ErrPoolClosed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(_ net.Conn, requests <-chan *Command) {
				for range 3 {
					<-requests
				}
				if tc.end != nil {
					for range requests {
					}
				}
			}, func(t *testing.T, pool *Pool, p *peer) {
				begun := time.Now()
				var wg sync.WaitGroup
				for range 3 {
					wg.Go(func() {
						if _, err := pool.Call(t.Context(), "x:1", "any", &Command{}); !errors.Is(err, tc.want) {
							t.Errorf("error %v, want %v", err, tc.want)
						}
					})
				}
				synctest.Wait()
				if tc.end != nil {
					tc.end(pool)
				}
				wg.Wait()
				wantTook(t, begun, 0)
			})
		})
	}
}

func TestDialing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := errors.New("refused")
		dials := 0
		pool := NewPool(func(ctx context.Context, _, addr string) (net.Conn, error) {
			if addr == "refused:1" {
				dials++
				return nil, refused
			}
			<-ctx.Done() // a host that does not answer
			return nil, ctx.Err()
		}, 3*time.Second, Credentials{})
		begun := time.Now()
		for range 2 {
			if _, err := pool.Call(t.Context(), "refused:1", "any", &Command{}); !errors.Is(err, ErrConnection) || !errors.Is(err, refused) {
				t.Errorf("refused: %v", err)
			}
		}
		if dials != 2 {
			t.Errorf("%d dials", dials)
		}
		wantTook(t, begun, 0)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := pool.Call(ctx, "silent:1", "any", &Command{}); !errors.Is(err, ErrNoAnswer) {
			t.Errorf("short call: %v", err)
		}
		wantTook(t, begun, time.Second)
		if _, err := pool.Call(t.Context(), "silent:1", "any", &Command{}); !errors.Is(err, ErrConnection) {
			t.Errorf("long call: %v", err)
		}
		wantTook(t, begun, 3*time.Second)
		pool.Close()
		if _, err := pool.Call(t.Context(), "refused:1", "any", &Command{}); !errors.Is(err, ErrPoolClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestPushes(t *testing.T) {
	refusals := make(chan *Command, 1)
	bubble(t, func(nc net.Conn, requests <-chan *Command) {
		r := <-requests
		for _, push := range []*Command{
			{Code: NotifyConsumerIDs, Flag: FlagOneWay, Opaque: 1},
			{Code: 220, Opaque: 2},
			{Code: 5, Flag: FlagResponse, Opaque: 999}, // an answer that nobody waits for
		} {
			_, _ = nc.Write(push.AppendHead(nil))
		}
		refusals <- <-requests
		answer(nc, r, "done")
		echo(nc, requests)
	}, func(t *testing.T, pool *Pool, _ *peer) {
		got, err := pool.Call(t.Context(), "x:1", "any", &Command{})
		if err != nil || string(got.Body) != "done" {
			t.Errorf("answer %v, %v", got, err)
		}
		if r := <-refusals; r.Opaque != 2 || r.Code != CodeNotSupported || r.Flag != FlagResponse {
			t.Errorf("answered the push with %+v", r)
		}
	})
}

func TestGarbageClosesTheConnection(t *testing.T) {
	bubble(t, func(nc net.Conn, requests <-chan *Command) {
		<-requests
		_, _ = nc.Write([]byte("HTTP/1.1 400 Bad Request\r\n"))
		echo(nc, requests)
	}, func(t *testing.T, pool *Pool, _ *peer) {
		if _, err := pool.Call(t.Context(), "x:1", "any", &Command{}); !errors.Is(err, ErrConnection) || !errors.Is(err, ErrFrame) {
			t.Errorf("error %v", err)
		}
	})
}
