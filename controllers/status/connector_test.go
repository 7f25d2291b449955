package status_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/status"
	"github.com/rocketmq-connect/operator/controllers/testobj"
	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

func reported(state string, tasks ...restapi.TaskStatus) *restapi.ConnectorStatus {
	for i := range tasks {
		tasks[i].ID = i
	}
	return &restapi.ConnectorStatus{Name: "orders", Kind: "Source", State: state, Desired: state, Worker: "demo-worker-0", Tasks: tasks}
}

func task(state string) restapi.TaskStatus {
	return restapi.TaskStatus{State: state, Worker: "demo-worker-1"}
}

func failed(why string, next *time.Time) restapi.TaskStatus {
	return restapi.TaskStatus{State: restapi.StateFailed, Worker: "demo-worker-1", Error: why, NextRestart: next}
}

type conditions struct{ Ready, Phase, Message string }

// of gives Ready as status/reason, and Reconciling or Stalled as type/reason.
func of(v status.Verdict) conditions {
	var list []metav1.Condition
	v.Set(&list, 7)
	var out conditions
	for _, c := range list {
		if c.ObservedGeneration != 7 {
			out.Message = "a condition without the generation"
			return out
		}
		if c.Type == v1alpha1.ConditionReady {
			out.Ready, out.Message = fmt.Sprintf("%s/%s", c.Status, c.Reason), c.Message
		} else {
			out.Phase += c.Type + "/" + c.Reason
		}
	}
	return out
}

func TestJudgeConnector(t *testing.T) {
	running, paused := task(restapi.StateRunning), task(restapi.StatePaused)
	soon := time.Unix(1_700_000_000, 0)
	cases := map[string]struct {
		state v1alpha1.ConnectorState
		see   func(*status.Connector)
		want  conditions
	}{
		"every task runs": {
			see:  func(o *status.Connector) { o.Workers = reported("Running", running, running) },
			want: conditions{"True/Running", "", "2/2 tasks run"},
		},
		"the cluster is not there": {
			see: func(o *status.Connector) { o.ClusterFound, o.Reachable = false, false },
			want: conditions{
				"False/ClusterNotFound",
				"Reconciling/ClusterNotFound",
				"ConnectCluster demo does not exist in namespace test: create it, or correct spec.clusterRef in a new Connector",
			},
		},
		"the cluster has no worker": {
			see:  func(o *status.Connector) { o.Reachable, o.ClusterMessage = false, "no worker is ready" },
			want: conditions{"False/ClusterNotReady", "Reconciling/ClusterNotReady", "no worker is ready"},
		},
		"the config is refused and nothing runs": {
			see:  func(o *status.Connector) { o.Rejected = "unknown class" },
			want: conditions{"False/ConfigRejected", "Stalled/ConfigRejected", "the workers refuse the configuration: unknown class"},
		},
		"the config is refused and the last one goes on": {
			see: func(o *status.Connector) {
				o.Rejected, o.Workers = "unknown class", reported("Running", running)
			},
			want: conditions{
				"False/ConfigRejected",
				"Stalled/ConfigRejected",
				"the workers refuse the configuration: unknown class; the last accepted one stays in use",
			},
		},
		"a Secret that nobody asked to mount": {
			see: func(o *status.Connector) { o.NotMounted = []string{"db", "kafka"} },
			want: conditions{
				"False/SecretNotMounted",
				"Reconciling/SecretNotMounted",
				"the workers do not mount Secret db, Secret kafka, to which spec.config refers: " +
					"add it to ConnectCluster demo, spec.secrets: [{name: db}, {name: kafka}]",
			},
		},
		"a Secret that is about to be mounted, and one that is not": {
			see: func(o *status.Connector) {
				o.NotMounted, o.Mounting, o.Workers = []string{"db"}, []string{"kafka"}, reported("Running", running)
			},
			want: conditions{
				"False/SecretNotMounted",
				"Reconciling/SecretNotMounted",
				"the workers do not mount Secret db, to which spec.config refers: " +
					"add it to ConnectCluster demo, spec.secrets: [{name: db}]; not all workers of ConnectCluster demo mount Secret kafka " +
					"yet: they are being replaced; " +
					"the last accepted configuration stays in use",
			},
		},
		"a Secret of a cluster without workers": {
			see: func(o *status.Connector) {
				o.Reachable, o.ClusterMessage, o.Mounting = false, "no worker is ready", []string{"kafka"}
			},
			want: conditions{"False/ClusterNotReady", "Reconciling/ClusterNotReady", "no worker is ready"},
		},
		"a call failed": {
			see: func(o *status.Connector) {
				o.Unreachable, o.Workers = "no answer in time", reported("Running", running)
			},
			want: conditions{"False/WorkersUnreachable", "Reconciling/WorkersUnreachable", "no answer in time"},
		},
		"the workers put it off": {
			see:  func(o *status.Connector) { o.Busy, o.Workers = "409 conflict", reported("Running", running) },
			want: conditions{"False/RebalanceInProgress", "Reconciling/RebalanceInProgress", "409 conflict"},
		},
		"accepted and not reported": {
			see:  func(o *status.Connector) { o.Pending, o.Workers = true, reported("Running", running) },
			want: conditions{"False/Progressing", "Reconciling/Progressing", "the workers accepted the change and have not reported its effect yet"},
		},
		"accepted and unknown to the workers": {
			want: conditions{"False/Progressing", "Reconciling/Progressing", "the workers accepted the change and have not reported its effect yet"},
		},
		"no tasks made": {
			see:  func(o *status.Connector) { o.Workers = reported("Running") },
			want: conditions{"False/WaitingForTasks", "Reconciling/WaitingForTasks", "the connector has not made its tasks yet"},
		},
		"a task that nobody has": {
			see:  func(o *status.Connector) { o.Workers = reported("Running", running, task(restapi.StateUnassigned)) },
			want: conditions{"False/WaitingForTasks", "Reconciling/WaitingForTasks", "1/2 tasks run"},
		},
		"a failed task that is retried": {
			see:  func(o *status.Connector) { o.Workers = reported("Running", running, failed("no route", &soon)) },
			want: conditions{"False/TasksFailed", "Reconciling/BackingOff", "1 of 2 tasks failed; task 1 on demo-worker-1: no route"},
		},
		"a failed task that is given up": {
			see: func(o *status.Connector) {
				o.Workers = reported("Running", failed("no route", &soon), failed("no", nil))
			},
			want: conditions{"False/TasksFailed", "Stalled/RestartBudgetExhausted", "2 of 2 tasks failed; task 0 on demo-worker-1: no route"},
		},
		"a restarting task": {
			see: func(o *status.Connector) {
				o.Workers = reported("Running", restapi.TaskStatus{State: restapi.StateRestarting, Worker: "w", Error: "eof"})
			},
			want: conditions{"False/TasksFailed", "Reconciling/BackingOff", "1 of 1 tasks failed; task 0 on w: eof"},
		},
		"the connector itself failed": {
			see: func(o *status.Connector) {
				o.Workers = reported("Failed")
				o.Workers.Desired, o.Workers.Error = "Running", "no such Kafka topic"
			},
			want: conditions{"False/ConnectorFailed", "Reconciling/BackingOff", "the connector failed: no such Kafka topic"},
		},
		"the connector itself is retried": {
			see: func(o *status.Connector) {
				o.Workers = reported("Restarting")
				o.Workers.Desired, o.Workers.Error = "Running", "no Kafka"
			},
			want: conditions{"False/ConnectorFailed", "Reconciling/BackingOff", "the connector failed: no Kafka"},
		},
		"paused keeps its tasks assigned": {
			state: v1alpha1.ConnectorPaused,
			see:   func(o *status.Connector) { o.Workers = reported("Paused", paused, paused) },
			want:  conditions{"True/Paused", "", "2/2 tasks are paused"},
		},
		"one task has not paused": {
			state: v1alpha1.ConnectorPaused,
			see:   func(o *status.Connector) { o.Workers = reported("Paused", paused, running) },
			want:  conditions{"False/WaitingForTasks", "Reconciling/WaitingForTasks", "1/2 tasks are paused"},
		},
		"the workers still want it to run": {
			state: v1alpha1.ConnectorPaused,
			see:   func(o *status.Connector) { o.Workers = reported("Running", running) },
			want: conditions{
				"False/Progressing",
				"Reconciling/Progressing",
				"the workers accepted the change and have not reported its effect yet",
			},
		},
		"stopped has no tasks": {
			state: v1alpha1.ConnectorStopped,
			see:   func(o *status.Connector) { o.Workers = reported("Stopped") },
			want:  conditions{"True/Stopped", "", "no tasks; configuration and positions are kept"},
		},
		"a task has not stopped": {
			state: v1alpha1.ConnectorStopped,
			see:   func(o *status.Connector) { o.Workers = reported("Stopped", running) },
			want:  conditions{"False/WaitingForTasks", "Reconciling/WaitingForTasks", "1 tasks have not stopped yet"},
		},
		"being deleted": {
			see: func(o *status.Connector) {
				o.Object = testobj.Connector("orders").Deleting().Obj()
				o.Deleting, o.Workers = "waiting for tasks", reported("Running", running)
			},
			want: conditions{"False/Deleting", "Reconciling/Deleting", "waiting for tasks"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.state == "" {
				tc.state = v1alpha1.ConnectorRunning
			}
			o := status.Connector{Object: testobj.Connector("orders").State(tc.state).Obj(), ClusterFound: true, Reachable: true}
			if tc.see != nil {
				tc.see(&o)
			}
			if diff := cmp.Diff(tc.want, of(status.JudgeConnector(o))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestVerdictsReplaceEachOther(t *testing.T) {
	var list []metav1.Condition
	status.Verdict{Reason: "A", Phase: status.Stalled}.Set(&list, 1)
	since := list[0].LastTransitionTime
	status.Verdict{Reason: "B", Phase: status.Reconciling}.Set(&list, 2)
	for _, c := range list {
		if c.Type == v1alpha1.ConditionStalled {
			t.Error("Stalled beside Reconciling")
		}
		if c.Type == v1alpha1.ConditionReady && c.LastTransitionTime != since {
			t.Error("Ready stayed False and its transition time changed")
		}
	}
	status.Verdict{Ready: true, Reason: "C"}.Set(&list, 3)
	if len(list) != 1 || list[0].Status != metav1.ConditionTrue {
		t.Errorf("a settled object has %v", list)
	}
}

func TestFillConnectorKeepsItsLimits(t *testing.T) {
	secret := "hunter2hunter2"
	redact := redact.New(map[string]string{"sasl.password": secret, "kafka.topics": "orders"}, redact.Named)
	next := time.Unix(1_700_000_000, 123_456_789)
	w := reported("Running", task(restapi.StateRunning), task(restapi.StatePaused), task(restapi.StateUnassigned))
	for i := range 40 {
		w.Tasks = append(w.Tasks, restapi.TaskStatus{
			ID: 3 + i, State: restapi.StateFailed, Worker: "w", Restarts: 2, NextRestart: &next,
			Error: "refused with " + secret + " for orders\n\tat " + strings.Repeat("ä", 500),
		})
	}
	for i := range 100 {
		w.Topics = append(w.Topics, fmt.Sprintf("topic-%03d", 99-i), "topic-000")
	}
	var s v1alpha1.ConnectorStatus
	status.FillConnector(&s, v1alpha1.ConnectorRunning, w, redact)
	if diff := cmp.Diff(v1alpha1.ConnectorTasks{Total: 43, Running: 1, Paused: 1, Failed: 40, Unassigned: 1}, *s.Tasks); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	if s.TasksReady != "1/43" || len(s.TaskFailures) != v1alpha1.MaxTaskFailures || len(s.Topics) != v1alpha1.MaxStatusTopics {
		t.Errorf("tasksReady %s, %d failures, %d topics", s.TasksReady, len(s.TaskFailures), len(s.Topics))
	}
	f := s.TaskFailures[0]
	if len([]rune(f.Message)) != v1alpha1.MaxFailureMessage || strings.Contains(f.Message, secret) ||
		!strings.HasPrefix(f.Message, "refused with ******** for orders at ää") {
		t.Errorf("message %q", f.Message)
	}
	if !f.NextRestartTime.Equal(&metav1.Time{Time: next.Truncate(time.Second)}) {
		t.Errorf("next restart %v, which the API server would store otherwise", f.NextRestartTime)
	}
	before := *s.DeepCopy()
	status.FillConnector(&s, v1alpha1.ConnectorRunning, nil, redact)
	if diff := cmp.Diff(before, s); diff != "" {
		t.Errorf("no report changed the last one:\n%s", diff)
	}
}
