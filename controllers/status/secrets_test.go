package status_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/render"
	"github.com/rocketmq-connect/operator/controllers/status"
	"github.com/rocketmq-connect/operator/controllers/testobj"
)

func TestMissingSecretsAreACondition(t *testing.T) {
	var got []metav1.Condition
	steps := []struct {
		absent []string
		want   string // of the condition; empty: it is not there
	}{
		{nil, ""},
		{
			[]string{"db", "kafka"},
			"False/SecretsMissing: missing in namespace test: Secret db, Secret kafka; create it, or take it out of spec.secrets: " +
				"tasks that refer to it fail until then",
		},
		{
			nil,
			"False/SecretsMissing: missing in namespace test: Secret db, Secret kafka; create it, or take it out of spec.secrets: " +
				"tasks that refer to it fail until then",
		},
		{
			[]string{"db"},
			"False/SecretsMissing: missing in namespace test: Secret db; create it, or take it out of spec.secrets: tasks that refer " +
				"to it fail until then",
		},
		{[]string{}, ""},
	}
	for i, step := range steps {
		status.SetSecrets(&got, status.Cluster{Object: testobj.Cluster("demo").Obj(), AbsentSecrets: step.absent}, 7)
		text := ""
		if c := meta.FindStatusCondition(got, v1alpha1.ConditionSecretsFound); c != nil {
			text = string(c.Status) + "/" + c.Reason + ": " + c.Message
		}
		if text != step.want {
			t.Errorf("step %d: %q, want %q", i, text, step.want)
		}
	}
}

// mounting is a worker pod with a sidecar that mounts other things.
func mounting(names ...string) corev1.Pod {
	worker := corev1.Container{Name: render.WorkerContainer, VolumeMounts: []corev1.VolumeMount{{Name: "config", MountPath: "/etc/connect"}}}
	for _, name := range names {
		worker.VolumeMounts = append(worker.VolumeMounts, corev1.VolumeMount{Name: "v-" + name, MountPath: render.SecretsDir + "/" + name})
	}
	sidecar := corev1.Container{
		Name:         "sidecar",
		VolumeMounts: []corev1.VolumeMount{{Name: "x", MountPath: render.SecretsDir + "/of-the-sidecar"}},
	}
	return corev1.Pod{Spec: corev1.PodSpec{Containers: []corev1.Container{sidecar, worker}}}
}

func TestMountedSecretsAreThoseOfEveryPod(t *testing.T) {
	leaving := mounting()
	leaving.DeletionTimestamp = ptr.To(metav1.NewTime(time.Unix(1, 0)))
	cases := map[string]struct {
		before []string
		pods   []corev1.Pod
		want   []string
	}{
		"all alike":             {nil, []corev1.Pod{mounting("b", "a"), mounting("a", "b")}, []string{"a", "b"}},
		"one is not new yet":    {nil, []corev1.Pod{mounting("a", "b"), mounting("b")}, []string{"b"}},
		"one has none":          {[]string{"a"}, []corev1.Pod{mounting("a"), mounting()}, nil},
		"one that is leaving":   {nil, []corev1.Pod{leaving, mounting("a")}, []string{"a"}},
		"no pods: not known":    {[]string{"a"}, nil, []string{"a"}},
		"a Secret with a dot":   {nil, []corev1.Pod{mounting("a.b")}, []string{"a.b"}},
		"mounted by a template": {nil, []corev1.Pod{mounting("of-a-csi-driver")}, []string{"of-a-csi-driver"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := v1alpha1.ConnectClusterStatus{MountedSecrets: tc.before}
			status.FillCluster(&got, status.Cluster{Pods: tc.pods})
			if diff := cmp.Diff(tc.want, got.MountedSecrets); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
