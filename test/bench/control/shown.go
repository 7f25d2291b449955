package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/service"
)

// shown follows what one worker's watch stream shows, as the operator does.
type shown struct {
	from *member
	stop context.CancelFunc
	done chan struct{}

	mu         sync.Mutex
	connectors map[string]restapi.ConnectorStatus
}

func (m *member) shown(ctx context.Context) *shown {
	ctx, stop := context.WithCancel(ctx)
	s := &shown{from: m, stop: stop, done: make(chan struct{}), connectors: map[string]restapi.ConnectorStatus{}}
	go func() {
		defer close(s.done)
		for ctx.Err() == nil {
			_ = m.rest.Watch(ctx, 0, s.take) // it ends with ctx, or is begun again
			_ = service.Sleep(ctx, look)
		}
	}()
	return s
}

func (s *shown) take(ev restapi.WatchEvent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch ev.Type {
	case restapi.EventSnapshot:
		clear(s.connectors)
	case restapi.EventConnector:
		s.connectors[ev.Name] = *ev.Connector
	case restapi.EventDeleted:
		delete(s.connectors, ev.Name)
	}
	return nil
}

// running counts the tasks that are shown as running on another worker than the one named, and gives one that is not.
func (s *shown) running(but string) (n int, other string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.connectors {
		for _, t := range c.Tasks {
			if t.State == restapi.StateRunning && t.Worker != but {
				n++
			} else {
				other = fmt.Sprintf("%s %+v", c.Name, t)
			}
		}
	}
	return n, other
}

// await waits until n tasks are shown as running on another worker than the one named, and returns how long it took.
func (s *shown) await(ctx context.Context, begun time.Time, n int, but string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, stuck)
	defer cancel()
	for {
		have, other := s.running(but)
		if have == n {
			return time.Since(begun), nil
		}
		if err := service.Sleep(ctx, look); err != nil {
			return 0, fmt.Errorf("waiting until %s shows %d tasks as running, not only %d (and %s): %w", s.from.conf.ID, n, have, other, err)
		}
	}
}

func (s *shown) close() {
	s.stop()
	<-s.done
}
