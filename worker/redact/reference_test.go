package redact

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
)

// A reference is no secret: it is shown, so that whoever reads a config sees what it needs.
func TestReferencesAreShown(t *testing.T) {
	const login = "org.apache.kafka.common.security.plain.PlainLoginModule required "
	cases := map[string]struct {
		key, value string
		hidden     bool
	}{
		"in a secret setting":                      {"x.password", "${secret:kafka:password}", false},
		"of a variable":                            {"x.password", "${env:PASSWORD}", false},
		"two of them":                              {"basic.auth.password", "${secret:a:user}:${secret:a:password}", false},
		"in a setting of no class":                 {"pin", "${file:/etc/x:pin}", false},
		"of a form that is none, which is refused": {"x.password", "${secret:kafka}", false},
		"beside more of the secret":                {"x.password", "hunter2${secret:kafka:password}", true},
		"before more of it":                        {"x.password", "${secret:kafka:password}2", true},
		"in a JAAS line":                           {"x.jaas", login + `username="ann" password="${secret:kafka:password}";`, false},
		"all options of a JAAS line": {
			"x.jaas",
			login + `username="${secret:kafka:user}" password="${secret:kafka:password}" debug="true";`,
			false,
		},
		"a JAAS line without quotes": {
			"x.jaas",
			login + `username=ann password=${secret:kafka:password} serviceName=kafka;`,
			false,
		},
		"a JAAS line with a password beside":           {"x.jaas", login + `username="${secret:kafka:user}" password="hunter2";`, true},
		"a JAAS line with half a password":             {"x.jaas", login + `username="ann" password="hunter${secret:kafka:digit}";`, true},
		"a JAAS line with an option nobody knows":      {"x.jaas", login + `username="ann" password="${secret:k:p}" user_bob="hunter2";`, true},
		"a text that is no JAAS line":                  {"x.jaas", `hunter2 username="${secret:kafka:user}"`, true},
		"the password of a URL":                        {"kafka.bootstrap.server", "http://ann:${secret:db:password}@h:1", false},
		"half the password of a URL":                   {"kafka.bootstrap.server", "http://ann:hunter${secret:db:digit}@h:1", true},
		"beside the password of a URL":                 {"kafka.bootstrap.server", "http://ann:hunter2@${secret:db:host}", true},
		"an option that says that it is one":           {"kafka.bootstrap.server", "h?password=${secret:db:password}&user=ann", false},
		"an option beside":                             {"kafka.bootstrap.server", "h?password=hunter2&user=${secret:db:user}", true},
		"a setting that may be shown":                  {"kafka.bootstrap.server", "${env:HOST}:9092", false},
		"what is no reference":                         {"x.password", "${topic}", true},
		"a provider that is none":                      {"x.password", "${vault:a:b}", true},
		"a character that stands for one":              {"x.password", "\x00${secret:kafka:password}", true},
		"a JAAS line with a character that is for one": {"x.jaas", "\x00" + login + `password="${secret:k:p}";`, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Policy(class).Hides(tc.key, tc.value); got != tc.hidden && (tc.key == "kafka.bootstrap.server" || Named(tc.key)) {
				t.Errorf("%s=%s is hidden: %t", tc.key, tc.value, got)
			}
			text := "setting " + tc.value + " refused"
			if shown := New(map[string]string{tc.key: tc.value}, class).Text(text); (shown == text) == tc.hidden {
				t.Errorf("%q is shown as %q", text, shown)
			}
		})
	}
}

func TestWhatReferencesStandForIsHidden(t *testing.T) {
	cfg := map[string]string{
		"x.jaas":                 `a.B required username="ann" password="${secret:kafka:password}";`,
		"kafka.bootstrap.server": "${env:HOST}:9092",
		"x.user":                 "ann",
	}
	resolved := []string{
		`a.B required username="ann" password="hun\"ter2";`,
		"kafka-0:9092",
		`hun\"ter2`,
		"kafka-0",
		"zz-alpha.invalid:9092,zz-beta.invalid:9093",
		"line one\nanother-line\n",
	}
	r := New(cfg, nil).With(resolved...)
	cases := map[string]struct{ text, want string }{
		"a value":                          {`got hun\"ter2`, "got ********"},
		"as the JAAS line reads it":        {`got hun"ter2`, "got ********"},
		"quoted":                           {`got "hun\\\"ter2"`, `got "********"`},
		"the setting that holds it":        {"parsing " + resolved[0], "parsing ********"},
		"a value of a setting that is not": {"dialing kafka-0:9092", "dialing ********"},
		"one server of a list":             {"lookup zz-beta.invalid: no such host", "lookup ********: no such host"},
		"one line of several":              {"bad: another-line", "bad: ********"},
		"the reference is shown": {
			"x.jaas refers to ${secret:kafka:password}: the file does not exist",
			"x.jaas refers to ${secret:kafka:password}: the file does not exist",
		},
		"the user of the line":    {"ann was refused", "ann was refused"},
		"passwords of other URLs": {"http://ann:x@h", "http://ann:********@h"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, r.Text(tc.text)); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
	if got := (Redactor{}).With().Text("hunter2"); got != "hunter2" {
		t.Errorf("without values %q", got)
	}
}

// A text that is cut in the middle of a secret must not show its beginning, nor one whose masks are shorter than what
// they hide.
func TestLongTextsShowNoPartOfALongSecret(t *testing.T) {
	long := make([]string, 0, 30<<10)
	for i := range cap(long) / 5 {
		long = append(long, fmt.Sprintf("%05d", i))
	}
	secret := strings.Join(long, "")
	r := New(map[string]string{"x.password": secret, "y.password": "hunter2"}, nil)
	for name, text := range map[string]string{
		"from the beginning": secret,
		"in the middle":      strings.Repeat("x", 9000) + secret,
		"up to the cut":      strings.Repeat("x", maxInput-3000) + secret,
		"after many masks":   strings.Repeat("hunter2 ", 1800) + secret,
	} {
		t.Run(name, func(t *testing.T) {
			got := r.Text(text)
			for _, digits := range long[:len(long)-1] {
				if strings.Contains(got, digits) {
					t.Fatalf("%s of the secret is shown", digits)
				}
			}
			if strings.Contains(got, "hunter2") || len(got) > 2*maxInput {
				t.Errorf("%d bytes are shown", len(got))
			}
		})
	}
}

type server struct{ Host, Password string }

type marshaled struct{ password string }

func (m marshaled) MarshalLog() any { return map[string]string{"password": m.password} }

func TestLogHasNoSecrets(t *testing.T) {
	var out strings.Builder
	below := funcr.NewJSON(func(line string) { fmt.Fprintln(&out, line) }, funcr.Options{Verbosity: 1})
	log := Log(below, New(map[string]string{"x.password": "hunter2"}, nil).Text)
	log.Info(
		"dialing hunter2",
		"text",
		"hunter2",
		"bytes",
		[]byte("hunter2"),
		"error",
		fmt.Errorf("refused hunter2"),
		"map",
		map[string]string{"a": "hunter2"},
		"struct",
		server{"h", "hunter2"},
		"pointer",
		&server{"h", "hunter2"},
		"stringer",
		&net.OpError{Op: "hunter2", Err: errors.New("hunter2")},
		"marshaled",
		marshaled{"hunter2"},
		"number",
		7,
		"yes",
		true,
		"wait",
		time.Second,
		"odd",
	)
	log.Error(errors.New("refused hunter2"), "failing with hunter2", "a", "hunter2")
	log.Error(nil, "failing")
	log.V(1).WithName("client").WithValues("b", "hunter2").Info("shown")
	log.V(2).Info("not shown")
	got := out.String()
	if strings.Contains(got, "hunter2") || strings.Contains(got, "104 117 110") {
		t.Errorf("the secret is logged:\n%s", got)
	}
	for _, want := range []string{`"msg":"dialing ` +
		`********"`, `"text":"********"`, `"number":7`, `"yes":true`, `"error":"refused ********"`, `"logger":"client"`, `"b":"********"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is missing in\n%s", want, got)
		}
	}
	if strings.Contains(got, "not shown") {
		t.Error("the level is lost")
	}
	Log(logr.Discard(), nil).Info("nobody reads it")
	Log(logr.Logger{}, nil).Info("nor this")
}
