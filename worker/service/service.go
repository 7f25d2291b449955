// Package service starts, runs and stops components, and is the only place that starts goroutines: whatever runs is
// known to somebody who waits for it.
package service

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
)

// Service is a component with a life: Start makes it usable, Run works until its context ends or something breaks, Stop
// releases what Start took. Nil functions do nothing.
type Service struct {
	Name  string
	Start func(ctx context.Context) error
	// Run's context ends when the service is to stop; it then returns nil.
	Run func(ctx context.Context) error
	// Stop gets a context that may outlive the one that ended Run: the time for a clean stop.
	Stop func(ctx context.Context) error
}

// Run starts the services in order, runs them all, and stops them in reverse order when ctx ends or the first of them
// fails; a failure while one is still starting ends its Start's context, too. A service is stopped before the ones that
// were started ahead of it see their Run contexts end. stopping makes the context for the stops (its time limit); the
// first failure is returned, joined with failures of the stops.
func Run(ctx context.Context, stopping func() (context.Context, context.CancelFunc), services ...Service) error {
	failed := make(chan error, len(services))
	starting, broken := context.WithCancelCause(ctx)
	defer broken(nil)
	var running []*instance
	var err error
	for _, s := range services {
		if s.Start != nil {
			if err = s.Start(starting); err != nil {
				err = fmt.Errorf("starting %s: %w", s.Name, err)
				if ctx.Err() == nil && starting.Err() != nil { // it was given up
					err = <-failed
				}
				break
			}
		}
		running = append(running, launch(s, func(err error) { failed <- err; broken(err) }))
	}
	if err == nil {
		select {
		case <-ctx.Done():
		case err = <-failed:
		}
	}
	stopCtx, cancel := stopping()
	defer cancel()
	for i := len(running) - 1; i >= 0; i-- {
		err = errors.Join(err, running[i].stop(stopCtx))
	}
	return err
}

type instance struct {
	service Service
	cancel  context.CancelFunc
	done    chan struct{}
}

func launch(s Service, failed func(error)) *instance {
	ctx, cancel := context.WithCancel(context.Background())
	in := &instance{service: s, cancel: cancel, done: make(chan struct{})}
	if s.Run == nil {
		close(in.done)
		return in
	}
	go func() {
		defer close(in.done)
		if err := Guard(func() error { return s.Run(ctx) }); err != nil && ctx.Err() == nil {
			failed(fmt.Errorf("running %s: %w", s.Name, err))
		}
	}()
	return in
}

func (in *instance) stop(ctx context.Context) error {
	in.cancel()
	<-in.done
	if in.service.Stop == nil {
		return nil
	}
	if err := in.service.Stop(ctx); err != nil {
		return fmt.Errorf("stopping %s: %w", in.service.Name, err)
	}
	return nil
}

// Group runs short-lived goroutines that belong to one owner, who waits for them. The zero value is ready. Go must not
// be called after Wait has returned.
type Group struct{ wg sync.WaitGroup }

// Go runs fn in a goroutine of the group.
func (g *Group) Go(fn func()) {
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		fn()
	}()
}

// Wait returns when every function has returned.
func (g *Group) Wait() { g.wg.Wait() }

// PanicError is a panic that Guard caught.
type PanicError struct {
	Value any
	Stack []byte
}

// Error gives the panic's value; the stack is for the log.
func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Guard calls fn and turns a panic into a *PanicError, so that a connector's panic fails its task and nothing else.
func Guard(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return fn()
}
