package task

import "time"

// The audit events of an attempt.
const (
	auditStart = "task-start"
	auditStop  = "task-stop"
)

// audit writes one line from which ownership can be checked afterwards: the start before anything can be delivered, the
// stop when nothing can be any more.
func (r *Runner) audit(event string, id ID) {
	r.cfg.Audit.Info("Auditing a task", "audit", event, "worker", id.Worker, "connector", id.Connector, "task", id.Task,
		"generation", id.Generation, "epoch", id.Epoch, "attempt", id.Attempt,
		"boottime_ns", r.cfg.Now().Nanoseconds(), "wall", time.Now().Format(time.RFC3339Nano))
}
