package rmqtest

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/service"
)

// answerTimeout bounds writing an answer to a client that does not read.
const answerTimeout = 10 * time.Second

// handler carries out a request. A nil answer is none: the handler answers later by p.answer, or never.
type handler func(p *peer, req *remoting.Command) *remoting.Command

// server is one process of the cluster: the name server or a master. It can be stopped and started again on its
// address.
type server struct {
	addr   string      // set before the first client can know it, and never again
	secure *tls.Config // nil: without TLS
	handle handler

	mu       sync.Mutex
	up       bool
	listener net.Listener // nil: pipes only
	peers    map[*peer]struct{}
	group    *service.Group
	frozen   chan struct{} // closed by the thaw; nil: it is not frozen
}

// peer is one connected client.
type peer struct {
	nc     net.Conn
	server *server
	gone   context.Context // ends with the connection
	cancel context.CancelFunc
	mu     sync.Mutex // held while writing
	mute   bool       // nothing more is written
}

// start serves. Over pipes it listens nowhere.
func (s *server) start(pipes bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.up {
		return nil
	}
	s.group, s.peers = &service.Group{}, map[*peer]struct{}{}
	if !pipes {
		l, err := s.listen()
		if err != nil {
			return fmt.Errorf("listening: %w", err)
		}
		s.listener = l
		s.group.Go(func() { s.accept(l) })
	}
	s.up = true
	return nil
}

// listen takes the address of before, or finds one below the ports that systems give to outgoing connections: while a
// server is stopped, no client of another test may come to sit on its port.
func (s *server) listen() (net.Listener, error) {
	if s.addr != "" {
		return net.Listen("tcp", s.addr)
	}
	var last error
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err == nil {
			s.addr = l.Addr().String()
			return l, nil
		}
		last = err
	}
	return nil, last
}

func (s *server) accept(l net.Listener) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		if !s.serve(nc) {
			nc.Close()
		}
	}
}

// serve answers a client until it goes. It says false when the server is down.
func (s *server) serve(nc net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up {
		return false
	}
	if s.secure != nil {
		nc = tls.Server(nc, s.secure)
	}
	p := &peer{nc: nc, server: s}
	p.gone, p.cancel = context.WithCancel(context.Background())
	s.peers[p] = struct{}{}
	s.group.Go(p.read)
	return true
}

// stop breaks all connections, as a killed process does.
func (s *server) stop() {
	s.mu.Lock()
	if !s.up {
		s.mu.Unlock()
		return
	}
	s.up = false
	if s.listener != nil {
		s.listener.Close()
	}
	for p := range s.peers {
		p.cancel()
		p.nc.Close()
	}
	group := s.group
	s.mu.Unlock()
	group.Wait()
}

func (s *server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.up
}

func (s *server) freeze() (thaw func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	frozen := make(chan struct{})
	s.frozen = frozen
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.frozen == frozen {
			s.frozen = nil
		}
		close(frozen)
	})
}

// others are the peers besides p.
func (s *server) others(p *peer) []*peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*peer
	for o := range s.peers {
		if o != p {
			out = append(out, o)
		}
	}
	return out
}

func (p *peer) read() {
	defer func() {
		p.cancel()
		p.nc.Close()
		p.server.mu.Lock()
		delete(p.server.peers, p)
		p.server.mu.Unlock()
	}()
	r := bufio.NewReaderSize(p.nc, 64<<10)
	for {
		req, err := remoting.ReadFrame(r)
		if err != nil {
			return
		}
		if !p.thawed() {
			return
		}
		if req.Flag&remoting.FlagResponse != 0 {
			continue
		}
		if resp := p.server.handle(p, req); resp != nil {
			p.answer(req, resp)
		}
	}
}

// later runs fn beside the reading of further requests.
func (p *peer) later(fn func()) {
	p.server.mu.Lock()
	defer p.server.mu.Unlock()
	if p.server.up {
		p.server.group.Go(fn)
	}
}

// wait says false when the connection ends meanwhile.
func (p *peer) wait(d time.Duration) bool {
	return service.Sleep(p.gone, d) == nil
}

// thawed waits for the end of a freeze. It says false when the connection ends meanwhile.
func (p *peer) thawed() bool {
	p.server.mu.Lock()
	frozen := p.server.frozen
	p.server.mu.Unlock()
	if frozen == nil {
		return true
	}
	select {
	case <-frozen:
		return true
	case <-p.gone.Done():
		return false
	}
}

func (p *peer) answer(req, resp *remoting.Command) {
	resp.Opaque, resp.Flag = req.Opaque, remoting.FlagResponse
	p.write(resp)
}

func (p *peer) write(c *remoting.Command) { p.send(c.AppendHead(nil), c.Body) }

// answerHalf sends the first half of the answer, and nothing after it.
func (p *peer) answerHalf(req, resp *remoting.Command) {
	resp.Opaque, resp.Flag = req.Opaque, remoting.FlagResponse
	frame := append(resp.AppendHead(nil), resp.Body...)
	p.send(frame[:len(frame)/2])
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mute = true
}

func (p *peer) send(parts ...[]byte) {
	if !p.thawed() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mute {
		return
	}
	if err := p.nc.SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil {
		return
	}
	frame := net.Buffers(parts)
	if _, err := frame.WriteTo(p.nc); err != nil {
		p.nc.Close()
	}
}
