package connector

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/testobj"
)

func TestWhichSecretsAreNotMounted(t *testing.T) {
	cluster := testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) {
		c.Spec.Secrets = []v1alpha1.MountedSecret{{Name: "kafka"}, {Name: "coming"}}
		c.Status.MountedSecrets = []string{"kafka", "of-the-template", "leaving"}
	}).Obj()
	cases := map[string]struct {
		value                     string
		wantMissing, wantMounting []string
	}{
		"no reference":               {value: "hunter2"},
		"one that is mounted":        {value: "${secret:kafka:password}"},
		"one that a template mounts": {value: "${secret:of-the-template:password}"},
		"one that is still mounted":  {value: "${secret:leaving:password}"},
		"one that is not":            {value: "${secret:db:password}", wantMissing: []string{"db"}},
		"one that is about to be":    {value: "${secret:coming:password}", wantMounting: []string{"coming"}},
		"inside a text, several": {
			value:       `user="${secret:db:user}" password="${secret:a.b-c:tls.key}" ${secret:db:x}${secret:kafka:x}`,
			wantMissing: []string{"a.b-c", "db"},
		},
		"another provider":             {value: "${env:db:password} ${file:/x:y}"},
		"what is no reference":         {value: "${secret:db} ${secret::x} $secret:db:x {secret:db:x} ${secret:db:"},
		"a name that no Secret has":    {value: "${secret:../etc:passwd} ${secret:Db:x}"},
		"a topic of a renaming format": {value: "${topic}"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			missing, mounting := unmounted(map[string]string{"kafka.topics": "orders", "a.password": tc.value}, cluster)
			if diff := cmp.Diff([][]string{tc.wantMissing, tc.wantMounting}, [][]string{missing, mounting}); diff != "" {
				t.Errorf("not mounted, about to be mounted (-want +got):\n%s", diff)
			}
		})
	}
}

// The name of a Secret is no secret: the message that names it stays readable.
func TestAMissingSecretIsNamed(t *testing.T) {
	object := testobj.Connector("orders").Config("sasl.password", "${secret:db:password}").
		Config("kafka.sasl.jaas.config", `x required username="${secret:kafka:user}" password="${secret:kafka:password}";`).Obj()
	const text = "the workers do not mount Secret db, Secret kafka, to which spec.config refers: add it to ConnectCluster demo, " +
		"spec.secrets: [{name: db}, {name: kafka}]"
	if got := redactor(object).Text(text); got != text {
		t.Errorf("it reads %q", got)
	}
}
