package feed

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

func TestARefusalSaysWhatIsWrong(t *testing.T) {
	cases := map[string]struct {
		problem       restapi.Problem
		want, wantNot string
	}{
		"the token": {
			restapi.Problem{Status: 401, Title: "Unauthorized", Detail: "the bearer token is not the worker's"},
			"do not accept the operator's token",
			"",
		},
		"the worker's names": {
			restapi.Problem{Status: 403, Title: "Forbidden", Detail: "this worker is not called \"x\""},
			`this worker is not called "x"`,
			"token",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Cause(fmt.Errorf("watching: %w", &tc.problem))
			if !strings.Contains(got, tc.want) || tc.wantNot != "" && strings.Contains(got, tc.wantNot) {
				t.Errorf("got %q", got)
			}
		})
	}
}
