package schedule

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/secret"
	"github.com/rocketmq-connect/operator/worker/secret/reference"
	"github.com/rocketmq-connect/operator/worker/service"
)

// Secrets resolves references of configs. *secret.Resolver is one.
type Secrets interface {
	Resolve(cfg map[string]string) (secret.Resolved, error)
	// Look reads again what is used.
	Look(refs []reference.Reference) reference.Used
}

// secretsInterval is how often what is used is read again. A change counts once two looks agree.
const secretsInterval = 2 * time.Second

// resolve reads what the connector's config refers to, and has the attempt's texts hide it.
//
// Invariant S1: values are in the config of the attempt only.
func (s *Scheduler) resolve(j *job) (secret.Resolved, error) {
	stored, spec := j.connector.Config, s.specOf(j.connector.Config)
	if err := secret.Misplaced(stored, func(key string) bool { return config.Reserved(key) || spec.NamesTopics(key) }); err != nil {
		return secret.Resolved{}, fmt.Errorf("connector %s: %w", j.unit.Connector, err)
	}
	if clear := secret.InClear(stored, s.policy(stored).Hides); len(clear) > 0 && s.cfg.ReferencesOnly {
		return secret.Resolved{}, fmt.Errorf("connector %s: %w", j.unit.Connector, secret.RefuseClear(strings.Join(clear, ", ")))
	}
	read := time.Now()
	got, err := s.deps.Secrets.Resolve(stored)
	s.mu.Lock()
	s.book.Read(j.unit, got.Used, read)
	s.mu.Unlock()
	if err != nil { // which shows references and paths, and no value
		return got, fmt.Errorf("connector %s: %w", j.unit.Connector, err)
	}
	if of := j.redactor; len(got.Values) > 0 {
		j.redactor = sync.OnceValue(func() redact.Redactor { return of().With(got.Values...) })
	}
	return got, nil
}

// storable are the task configs that a class has made of the resolved config, with references again.
func storable(resolved secret.Resolved, stored map[string]string, tasks []connector.Config) ([]map[string]string, error) {
	out := make([]map[string]string, len(tasks))
	for i, t := range tasks {
		var err error
		if out[i], err = resolved.Unresolve(stored, t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// warnClear tells, where a connector is divided, which of its settings have secrets in the clear.
func (s *Scheduler) warnClear(j *job) {
	if clear := secret.InClear(j.connector.Config, s.policy(j.connector.Config).Hides); len(clear) > 0 {
		s.cfg.Log.Info(
			"Going on with secrets in the clear: write references in their place",
			"connector",
			j.unit.Connector,
			"settings",
			strings.Join(clear, ", "),
		)
	}
}

// watchSecrets notices when what units have read changes, until ctx ends.
func (s *Scheduler) watchSecrets(ctx context.Context) {
	var watch reference.Watch
	for service.Sleep(ctx, secretsInterval) == nil {
		s.mu.Lock()
		refs := s.book.Used().References()
		s.mu.Unlock()
		begun := time.Now()
		now := watch.Step(s.deps.Secrets.Look(refs))
		s.mu.Lock()
		stale := s.book.Outdate(now, begun)
		s.mu.Unlock()
		for u, changed := range stale {
			s.cfg.Log.Info(
				"Starting a unit again, for a secret that it refers to has changed",
				"connector",
				u.Connector,
				"task",
				u.Task,
				"references",
				texts(changed),
			)
		}
		if len(stale) > 0 {
			s.nudge()
		}
	}
}

func texts(refs []reference.Reference) string {
	var out []string
	for _, ref := range refs {
		out = append(out, ref.String())
	}
	return strings.Join(out, ", ")
}
