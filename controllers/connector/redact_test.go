package connector

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/controllers/testobj"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// The operator knows no class: names, JAAS lines and URLs tell what is secret, and all else stays readable.
func TestWhatTheOperatorHides(t *testing.T) {
	const unreachable = "Kafka at kafka-0.kafka:9092 cannot be reached: check kafka.bootstrap.server"
	object := testobj.Connector("orders").Config("kafka.bootstrap.server", "kafka-0.kafka:9092").
		Config("kafka.sasl.jaas.config", `x required username="kafka" password="hunter2";`).
		Config(
			"registry",
			"http://ann:s3cret@registry:8081",
		).Config("kafka.ssl.keystore.key", "-----BEGIN KEY-----\nMIIEv\n-----END KEY-----").Obj()
	cases := map[string]struct{ text, want string }{
		"the user name of a JAAS line hides nothing": {unreachable, unreachable},
		"the password of a JAAS line":                {"kafka with hunter2 refused", "kafka with ******** refused"},
		"the password of a URL":                      {"ann with s3cret refused", "ann with ******** refused"},
		"a URL": {
			`get "http://ann:s3cret@registry:8081": EOF`,
			`get "http://ann:********@registry:8081": EOF`,
		},
		"a URL that is no setting": {"dialing http://eve:other@host", "dialing http://eve:********@host"},
		"a private key":            {"bad line MIIEv", "bad line ********"},
		"other values":             {"topic orders is not there", "topic orders is not there"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			redact := redactor(object)
			if diff := cmp.Diff(tc.want, redact.Text(tc.text)); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			refused := &restapi.Problem{Status: 422, Title: "Invalid connector", Errors: []restapi.FieldError{{Field: "config", Detail: tc.text}}}
			for _, got := range []string{redact.Text(refusal(refused)), redacted{err: fmt.Errorf("calling: %w", refused), redact: redact}.Error()} {
				if !strings.Contains(got, tc.want) {
					t.Errorf("%q has no %q", got, tc.want)
				}
			}
			if err := error(redacted{err: refused, redact: redact}); !errors.Is(err, refused) {
				t.Error("the cause is lost")
			}
		})
	}
}
