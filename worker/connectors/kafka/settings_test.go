package kafka

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/resume"
	"github.com/rocketmq-connect/operator/worker/redact"
)

// The configs that the users' documents print.
func TestDocumentedConfigsAreValid(t *testing.T) {
	source := connector.Config{"tasks.num": "4", "kafka.topics": "kafkaconnect", "kafka.bootstrap.server": "127.0.0.1:9092"}
	if err := (SourceConnector{}).Validate(source); err != nil {
		t.Error(err)
	}
	sink := connector.Config{"topicNames": "kafkaconnect", "tasks.num": "2", "kafka.bootstrap.server": "127.0.0.1:9092"}
	if err := (SinkConnector{}).Validate(sink); err != nil {
		t.Error(err)
	}
	tasks, err := SourceConnector{}.Tasks(t.Context(), source, 4)
	if diff := cmp.Diff([]connector.Config{source, source, source, source}, tasks); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := (SinkConnector{}).Tasks(t.Context(), sink, 0); err == nil {
		t.Error("no task at all is accepted")
	}
}

func TestSourceSettings(t *testing.T) {
	s, err := readSourceSettings(connector.Config{keyTopics: " b, a ,b,", keyBootstrapKafka: "k1, k2:9093,[::1]:9092"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a", "b"}, s.topics); diff != "" {
		t.Errorf("topics (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"k1:9092", "k2:9093", "[::1]:9092"}, s.bootstrap); diff != "" {
		t.Errorf("bootstrap (-want +got):\n%s", diff)
	}
	if s.fetchMax != 4<<20 || s.partitionMax != 1<<20 || s.reset != resume.Earliest || !s.committed || s.byKey {
		t.Errorf("defaults: %+v", s)
	}
}

func TestValidateNamesTheSetting(t *testing.T) {
	const secret = "s3cret"
	base := connector.Config{keyTopics: "orders", keyBootstrap: "127.0.0.1:9092"}
	cases := map[string]struct {
		more []string
		want []string
	}{
		"no topics":                   {[]string{keyTopics, ""}, []string{keyTopics, "required"}},
		"no brokers":                  {[]string{keyBootstrap, ""}, []string{keyBootstrap, "required"}},
		"two lists of brokers":        {[]string{keyBootstrapKafka, "other:9092"}, []string{keyBootstrap, keyBootstrapKafka, "differ"}},
		"a broker without a number":   {[]string{keyBootstrap, "a:b:c"}, []string{keyBootstrap, `"a:b:c"`}},
		"a reset that is none":        {[]string{keyReset, "middle"}, []string{keyReset, "earliest", `"middle"`}},
		"a number that is too small":  {[]string{keyPollMax, "0"}, []string{keyPollMax, "from 1"}},
		"a refresh that is too short": {[]string{keyMetadataAge, "1"}, []string{keyMetadataAge, "at least"}},
		"SASL without a password":     {[]string{keyProtocol, protocolSASL, keyUsername, "u"}, []string{keyUsername, keyPassword}},
		"a password without SASL":     {[]string{keyUsername, "u", keyPassword, secret}, []string{keyProtocol, protocolSASLTLS}},
		"a JAAS text without a user": {
			[]string{keyProtocol, protocolSASL, keyJAAS, `x required password="` + secret + `";`},
			[]string{keyJAAS, "username"},
		},
		"a JAAS text without quotes": {
			[]string{keyProtocol, protocolSASL, keyJAAS, `x required username=u password=` + secret},
			[]string{keyJAAS},
		},
		"a mechanism that is unknown": {
			[]string{keyProtocol, protocolSASL, keyMechanism, "GSSAPI"},
			[]string{keyMechanism, mechanismSCRAM512},
		},
		"certificates without TLS": {[]string{keyCALocation, "/ca.pem"}, []string{keyProtocol, protocolTLS}},
		"a certificate without its key": {
			[]string{keyProtocol, protocolTLS, keyCertLocation, "/c.pem"},
			[]string{keyCertLocation, keyKeyLocation},
		},
		"a Java key store": {
			[]string{keyProtocol, protocolTLS, keyTruststoreLocation, "/t.jks"},
			[]string{keyTruststoreLocation, keyCALocation},
		},
		"authorities by file and as text": {
			[]string{keyProtocol, protocolTLS, keyCALocation, "/c.pem", keyTruststorePEM, "x"},
			[]string{keyCALocation, keyTruststorePEM},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := connector.Config{}
			for k, v := range base {
				cfg[k] = v
			}
			err := SourceConnector{}.Validate(with(cfg, tc.more...))
			for _, part := range tc.want {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("no %q in: %v", part, err)
				}
			}
			// Invariant S1: values that are secrets are never shown.
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the password is shown: %v", err)
			}
		})
	}
}

func TestSinkNeedsTopics(t *testing.T) {
	err := SinkConnector{}.Validate(connector.Config{keyBootstrap: "127.0.0.1:9092"})
	if err == nil || !strings.Contains(err.Error(), "topicNames") {
		t.Error(err)
	}
	for _, key := range connector.TopicKeys() {
		if err := (SinkConnector{}).Validate(connector.Config{keyBootstrap: "127.0.0.1:9092", key: "orders"}); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

func TestJAAS(t *testing.T) {
	cases := map[string]struct{ jaas, wantUser, wantPassword string }{
		"plain":          {`org.apache.kafka.common.security.plain.PlainLoginModule required username="alice" password="p w";`, "alice", "p w"},
		"other order":    {`x required password = "p" username ="u" ;`, "u", "p"},
		"escaped quotes": {`x required username="a\"b" password="c\\d";`, `a"b`, `c\d`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if u, p, ok := parseJAAS(tc.jaas); !ok || u != tc.wantUser || p != tc.wantPassword {
				t.Errorf("%q %q %v", u, p, ok)
			}
		})
	}
}

func TestTopicNames(t *testing.T) {
	cases := map[string]struct{ in, want string }{
		"RocketMQ's percent is none of Kafka's": {"%RETRY%group|x", "_RETRY_group_x"},
		"dots, dashes and underscores stay":     {"rmq.a-b_c", "rmq.a-b_c"},
		"what is no ASCII is replaced":          {"订单", "__"},
		"names are not cut off":                 {strings.Repeat("a", 300), strings.Repeat("a", 300)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := legalTopic(tc.in); got != tc.want {
				t.Errorf("%q, not %q", got, tc.want)
			}
		})
	}
}

// A name that sounds like a secret would hide a setting that may be shown, and one that does not would show the
// operator's users a secret: the operator has names alone.
func TestNamesOfSettingsTellSecrets(t *testing.T) {
	for _, spec := range []connector.Spec{SourceConnector{}.Spec(), SinkConnector{}.Spec()} {
		for _, k := range spec.Keys {
			if got := redact.Named(k.Name); got != k.Secret {
				t.Errorf("%s: %s: its name says secret=%v, its Spec %v", spec.Class, k.Name, got, k.Secret)
			}
		}
	}
}

func TestSettingsThatSayWhereSecretsGo(t *testing.T) {
	want := []string{
		keyBootstrap,
		keyBootstrapKafka,
		keyProtocol,
		keyMechanism,
		keyUsername,
		keyCALocation,
		keyTruststorePEM,
		keyEndpointIdent,
	}
	for _, spec := range []connector.Spec{SourceConnector{}.Spec(), SinkConnector{}.Spec()} {
		var got []string
		for _, k := range spec.Keys {
			if k.Destination {
				got = append(got, k.Name)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", spec.Class, diff)
		}
	}
}
