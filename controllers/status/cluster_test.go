package status_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/status"
	"github.com/rocketmq-connect/operator/controllers/testobj"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

func statefulSet(want, have, updated, ready int32) *appsv1.StatefulSet {
	return &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Generation: 4},
		Spec:       appsv1.StatefulSetSpec{Replicas: &want},
		Status:     appsv1.StatefulSetStatus{ObservedGeneration: 4, Replicas: have, UpdatedReplicas: updated, ReadyReplicas: ready},
	}
}

func members(ids ...string) *restapi.Cluster {
	c := &restapi.Cluster{ID: "test-demo"}
	for _, id := range ids {
		c.Members = append(c.Members, restapi.Member{Worker: id, Version: "v1", Tasks: 2})
	}
	return c
}

func crashing(name, last string) corev1.Pod {
	return corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{
			State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off 10s"}},
			LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 1, Message: last}},
		}}},
	}
}

func TestJudgeCluster(t *testing.T) {
	healthy := func() status.Cluster {
		return status.Cluster{Want: 3, StatefulSet: statefulSet(3, 3, 3, 3), View: members("w0", "w1", "w2")}
	}
	cases := map[string]struct {
		see  func(*status.Cluster)
		want conditions
	}{
		"all workers are there": {
			see:  func(*status.Cluster) {},
			want: conditions{"True/WorkersReady", "", "3 of 3 workers are ready and have joined"},
		},
		"the id is taken": {
			see:  func(o *status.Cluster) { o.Conflict = "taken" },
			want: conditions{"False/NameConflict", "Stalled/NameConflict", "taken"},
		},
		"the spec cannot be rendered": {
			see:  func(o *status.Cluster) { o.Invalid = "bad setting" },
			want: conditions{"False/ConfigInvalid", "Stalled/ConfigInvalid", "bad setting; what runs is left as it is"},
		},
		"the API server refused": {
			see:  func(o *status.Cluster) { o.ApplyFailed = "quota" },
			want: conditions{"False/ApplyFailed", "Reconciling/ApplyFailed", "quota"},
		},
		"cert-manager has not issued yet": {
			see:  func(o *status.Cluster) { o.Uncertified = "no certificate" },
			want: conditions{"False/CertificateNotReady", "Reconciling/CertificateNotReady", "no certificate"},
		},
		"what was read may be older than what was changed": {
			see:  func(o *status.Cluster) { o.Changed = true },
			want: conditions{"False/Progressing", "Reconciling/Progressing", "the StatefulSet's controller has not seen the change yet"},
		},
		"no StatefulSet in the cache yet": {
			see:  func(o *status.Cluster) { o.StatefulSet, o.View = nil, nil },
			want: conditions{"False/Progressing", "Reconciling/Progressing", "the StatefulSet's controller has not seen the change yet"},
		},
		"the StatefulSet's controller lags": {
			see:  func(o *status.Cluster) { o.StatefulSet.Generation = 5 },
			want: conditions{"False/Progressing", "Reconciling/Progressing", "the StatefulSet's controller has not seen the change yet"},
		},
		"scaled to zero": {
			see:  func(o *status.Cluster) { o.Want, o.StatefulSet, o.View = 0, statefulSet(0, 0, 0, 0), nil },
			want: conditions{"True/ScaledToZero", "", "no workers are wanted: connectors do not run"},
		},
		"scaling to zero": {
			see:  func(o *status.Cluster) { o.Want, o.StatefulSet = 0, statefulSet(0, 2, 2, 2) },
			want: conditions{"False/Progressing", "Reconciling/Progressing", "2 workers are leaving"},
		},
		"pods are missing": {
			see:  func(o *status.Cluster) { o.StatefulSet = statefulSet(3, 1, 1, 0) },
			want: conditions{"False/Progressing", "Reconciling/Progressing", "1 of 3 worker pods exist"},
		},
		"the credentials are missing": {
			see: func(o *status.Cluster) {
				o.StatefulSet, o.MissingSecret = statefulSet(3, 3, 3, 0), "keys"
				o.Object.Spec.RocketMQ.CredentialsSecretRef = &v1alpha1.SecretReference{Name: "keys"}
			},
			want: conditions{
				"False/SecretNotFound",
				"Reconciling/SecretNotFound",
				"Secret keys does not exist in namespace test: create it with the keys accessKey and secretKey, or correct " +
					"spec.rocketmq.credentialsSecretRef",
			},
		},
		"a certificate is missing": {
			see: func(o *status.Cluster) { o.StatefulSet, o.MissingSecret = statefulSet(3, 3, 3, 0), "client" },
			want: conditions{
				"False/SecretNotFound",
				"Reconciling/SecretNotFound",
				"Secret client does not exist in namespace test: create it, or correct spec.rocketmq.tls",
			},
		},
		"pods are replaced": {
			see:  func(o *status.Cluster) { o.StatefulSet = statefulSet(3, 3, 1, 2) },
			want: conditions{"False/RollingUpdate", "Reconciling/RollingUpdate", "1 of 3 workers run the new configuration"},
		},
		"pods of an older template under OnDelete": {
			see: func(o *status.Cluster) {
				o.StatefulSet = statefulSet(3, 3, 1, 3)
				o.StatefulSet.Spec.UpdateStrategy.Type = appsv1.OnDeleteStatefulSetStrategyType
			},
			want: conditions{"True/WorkersReady", "", "3 of 3 workers are ready and have joined"},
		},
		"a pod ends at once": {
			see: func(o *status.Cluster) {
				o.StatefulSet = statefulSet(3, 3, 3, 2)
				o.Pods = []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "w0"}}, crashing("w1", "starting\nworker: no such key\n")}
			},
			want: conditions{
				"False/PodsNotReady",
				"Reconciling/PodsNotReady",
				"2 of 3 worker pods are ready; w1: CrashLoopBackOff: worker: no such key",
			},
		},
		"a worker says why it is not ready": {
			see: func(o *status.Cluster) {
				o.StatefulSet = statefulSet(3, 3, 3, 0)
				o.Pods = []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "w0"}}, {ObjectMeta: metav1.ObjectMeta{Name: "w1"}}}
				o.Unready = map[string]string{"w0": "not ready: RocketMQ cannot be reached"}
			},
			want: conditions{
				"False/PodsNotReady",
				"Reconciling/PodsNotReady",
				"0 of 3 worker pods are ready; w0: not ready: RocketMQ cannot be reached",
			},
		},
		"a worker that is not ready may say a lot": {
			see: func(o *status.Cluster) {
				o.StatefulSet = statefulSet(3, 3, 3, 0)
				o.Pods = []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "w0"}}}
				o.Unready = map[string]string{"w0": "not ready: " + strings.Repeat("x", 500) + " code 14"}
			},
			want: conditions{
				"False/PodsNotReady",
				"Reconciling/PodsNotReady",
				"0 of 3 worker pods are ready; w0: not ready: " + strings.Repeat("x", 500) + " code 14",
			},
		},
		"the stores take nothing": {
			see:  func(o *status.Cluster) { o.View.StoresNotWritten = "stores not written: topic p: broker b" },
			want: conditions{"False/StoresNotWritten", "Reconciling/StoresNotWritten", "stores not written: topic p: broker b"},
		},
		"the stores take nothing, and no worker is ready any more for that": {
			see: func(o *status.Cluster) {
				o.StatefulSet, o.View = statefulSet(3, 3, 3, 0), nil
				o.Unready = map[string]string{"w0": "not ready: stores not written: topic p: broker b"}
			},
			want: conditions{"False/StoresNotWritten", "Reconciling/StoresNotWritten", "stores not written: topic p: broker b"},
		},
		"the workers dispute the log": {
			see:  func(o *status.Cluster) { o.View.LogDisputed = "cluster log disputed: w0 and w1" },
			want: conditions{"False/ClusterLogDisputed", "Reconciling/ClusterLogDisputed", "cluster log disputed: w0 and w1"},
		},
		"the workers dispute the log, and none is ready for that": {
			see: func(o *status.Cluster) {
				o.StatefulSet, o.View = statefulSet(3, 3, 3, 0), nil
				o.Unready = map[string]string{"w0": "not ready: cluster log disputed: w0 and w1"}
			},
			want: conditions{"False/ClusterLogDisputed", "Reconciling/ClusterLogDisputed", "cluster log disputed: w0 and w1"},
		},
		"warnings alone": {
			see:  func(o *status.Cluster) { o.View.Warnings = []string{"topic c compacts"} },
			want: conditions{"True/WorkersReady", "", "3 of 3 workers are ready and have joined"},
		},
		"a pod finds no node": {
			see: func(o *status.Cluster) {
				o.StatefulSet = statefulSet(3, 3, 3, 2)
				o.Pods = []corev1.Pod{{ObjectMeta: metav1.ObjectMeta{Name: "w2"}, Status: corev1.PodStatus{Conditions: []corev1.PodCondition{
					{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "0/1 nodes"},
				}}}}
			},
			want: conditions{"False/PodsNotReady", "Reconciling/PodsNotReady", "2 of 3 worker pods are ready; w2: Unschedulable: 0/1 nodes"},
		},
		"nobody reports": {
			see:  func(o *status.Cluster) { o.View, o.ViewMessage = nil, "no answer" },
			want: conditions{"False/WorkersUnreachable", "Reconciling/WorkersUnreachable", "no answer"},
		},
		"a worker has not joined": {
			see:  func(o *status.Cluster) { o.View = members("w0", "w1") },
			want: conditions{"False/MissingMembers", "Reconciling/MissingMembers", "2 of 3 workers have joined"},
		},
		"a dead worker is still a member": {
			see: func(o *status.Cluster) { o.View = members("w0", "w1", "w2", "w3") },
			want: conditions{
				"False/MissingMembers",
				"Reconciling/MissingMembers",
				"the workers count 4 members where 3 are wanted: those that left are not given up yet",
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := healthy()
			o.Object = testobj.Cluster("demo").Obj()
			tc.see(&o)
			if diff := cmp.Diff(tc.want, of(status.JudgeCluster(o))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWarningsOfTopicsAreACondition(t *testing.T) {
	var got []metav1.Condition
	steps := []struct {
		view *restapi.Cluster
		want string // of the condition; empty: it is not there
	}{
		{&restapi.Cluster{}, ""},
		{
			&restapi.Cluster{Warnings: []string{"topic c compacts", "topic p lies elsewhere"}},
			"False/TopicWarnings: topic c compacts; topic p lies elsewhere",
		},
		{nil, "False/TopicWarnings: topic c compacts; topic p lies elsewhere"},
		{&restapi.Cluster{Warnings: []string{"topic p lies elsewhere"}}, "False/TopicWarnings: topic p lies elsewhere"},
		{&restapi.Cluster{}, ""},
	}
	for i, step := range steps {
		status.SetTopics(&got, status.Cluster{View: step.view}, 7)
		text := ""
		if c := meta.FindStatusCondition(got, v1alpha1.ConditionInternalTopicsHealthy); c != nil {
			text = string(c.Status) + "/" + c.Reason + ": " + c.Message
		}
		if text != step.want {
			t.Errorf("step %d: %q, want %q", i, text, step.want)
		}
	}
}

func TestFillCluster(t *testing.T) {
	bad := reported("Running", task(restapi.StateRunning), failed("x", nil))
	bad.Name = "bad"
	foreign := reported("Paused", task(restapi.StatePaused))
	foreign.Name = "foreign"
	o := status.Cluster{
		Want: 3, StatefulSet: statefulSet(3, 3, 2, 1), View: members("w1", "w0", "w0"),
		Connectors: []restapi.ConnectorStatus{*reported("Running", task(restapi.StateRunning), task(restapi.StateUnassigned)), *bad, *foreign},
		Managed:    map[string]bool{"orders": true, "bad": true},
	}
	var got v1alpha1.ConnectClusterStatus
	status.FillCluster(&got, o)
	want := v1alpha1.ConnectClusterStatus{
		Replicas: 3, UpdatedReplicas: 2, ReadyReplicas: 1,
		Workers: &v1alpha1.WorkersStatus{Expected: 3, Joined: 3, Members: []v1alpha1.WorkerMember{
			{WorkerID: "w0", Tasks: 2, Version: "v1"}, {WorkerID: "w1", Tasks: 2, Version: "v1"},
		}},
		Connectors: &v1alpha1.ClusterConnectors{Total: 3, Running: 1, Paused: 1, Failed: 1, Unmanaged: 1},
		Tasks:      &v1alpha1.ClusterTasks{Total: 5, Running: 2, Failed: 1, Unassigned: 1},
		TasksReady: "2/5",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	status.FillCluster(&got, status.Cluster{Want: 2, StatefulSet: statefulSet(2, 2, 2, 0)})
	if got.Workers.Joined != 0 || ptr.Deref(got.Connectors, v1alpha1.ClusterConnectors{}).Total != 3 {
		t.Errorf("without a report: %+v", got)
	}
	status.FillCluster(&got, status.Cluster{StatefulSet: statefulSet(0, 1, 1, 0)})
	if got.TasksReady != "2/5" {
		t.Errorf("while the last worker stops: %+v", got)
	}
	status.FillCluster(&got, status.Cluster{StatefulSet: statefulSet(0, 0, 0, 0)})
	if got.TasksReady != "0/5" || got.Tasks.Unassigned != 5 || got.Connectors.Running != 0 || got.Connectors.Total != 3 {
		t.Errorf("without workers: %s, %+v, %+v", got.TasksReady, got.Tasks, got.Connectors)
	}
}
