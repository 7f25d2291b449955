package redact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	jaas = `org.apache.kafka.common.security.plain.PlainLoginModule required username="kafka" password="hunter2";`
	// unreachable names an address and a setting, both with the user's name in them.
	unreachable = "Kafka at kafka-0.kafka:9092 cannot be reached: check kafka.bootstrap.server"
)

// class is the policy of a class with two settings, one of them secret.
func class(key string) bool { return key != "kafka.bootstrap.server" }

func TestText(t *testing.T) {
	type config = map[string]string
	servers := "kafka-0.kafka:9092,kafka-1.kafka:9092"
	cases := map[string]struct {
		cfg        config
		policy     Policy
		text, want string
	}{
		"the user of a JAAS line hides nothing": {
			config{"kafka.sasl.jaas.config": jaas, "kafka.bootstrap.server": servers},
			class,
			unreachable,
			unreachable,
		},
		"nor does it where names alone tell": {
			config{"kafka.sasl.jaas.config": jaas, "kafka.bootstrap.server": servers},
			nil,
			unreachable,
			unreachable,
		},
		"the password of a JAAS line is hidden": {
			config{"x.jaas": jaas},
			nil,
			"kafka with hunter2 refused",
			"kafka with ******** refused",
		},
		"the whole line, too": {config{"x.jaas": jaas}, nil, "parsing " + jaas, "parsing ********"},
		"a password in single quotes": {
			config{"x.jaas": `x required password='hunter2';`},
			nil,
			"got hunter2",
			"got ********",
		},
		"a password without quotes": {
			config{"x.jaas": "x required username=kafka password=hunter2;"},
			nil,
			"kafka got hunter2",
			"kafka got ********",
		},
		"a password with escaped quotes": {
			config{"x.jaas": `x required password="hun\"ter2";`},
			nil,
			`got hun"ter2 or "hun\"ter2"`,
			`got ******** or "********"`,
		},
		"the keys of other options of a JAAS line": {
			config{"x.jaas": `x required user_admin="hunter2" debug="true";`},
			nil,
			"hunter2 is true",
			"******** is true",
		},
		"a JSON key file": {
			config{"gcp.credentials": `{"type": "service_account", "private_key": "hunter2"}`},
			nil,
			"service_account hunter2",
			"service_account ********",
		},
		"a line of a PEM key": {
			config{"ssl.keystore.key": "-----BEGIN PRIVATE KEY-----\nMIIEv\nAbCd\n-----END PRIVATE KEY-----\n"},
			nil,
			"bad PEM at MIIEv of -----END PRIVATE KEY-----",
			"bad PEM at ******** of -----END PRIVATE KEY-----",
		},
		"a password that is a part of public words": {
			config{"a.password": "kafka", "kafka.bootstrap.server": servers},
			class,
			unreachable + "; kafka",
			unreachable + "; ********",
		},
		"a public word that is the password itself": {
			config{"a.password": "kafka", "a.user": "kafka"},
			nil,
			"kafka refused",
			"******** refused",
		},
		"the longer of two passwords is hidden whole": {
			config{"a.password": "abc", "b.password": "abcdef"},
			nil,
			"abcdef abc",
			"******** ********",
		},
		"passwords that overlap":                     {config{"a.password": "abcd", "b.password": "cdef"}, nil, "xabcdefx", "x********x"},
		"a password below the minimum hides nothing": {config{"a.password": "ab"}, nil, "abacus", "abacus"},
		"a password of blanks at its ends":           {config{"a.password": " hunter2\n"}, nil, "got hunter2", "got ********"},
		"a password as Go quotes it":                 {config{"a.password": "hun\nter2"}, nil, `got "hun\nter2"`, `got "********"`},
		"a password as JSON has it":                  {config{"a.password": "hun<ter2"}, nil, `got "hun\u003cter2"`, `got "********"`},
		"a password as URLs have it": {
			config{"a.password": "hun/ter 2"},
			nil,
			"got hun%2Fter+2 and hun%2Fter%202",
			"got ******** and ********",
		},
		"a setting that the class does not know": {config{"x": "hunter2"}, class, "got hunter2", "got ********"},
		"one that the class knows": {
			config{"kafka.bootstrap.server": "kafka:9092"},
			class,
			"dialing kafka:9092",
			"dialing kafka:9092",
		},
		"the password of a URL among the settings": {
			config{"url": "http://ann:hunter2@host/x"},
			nil,
			"ann got hunter2",
			"ann got ********",
		},
		"an escaped password of a URL": {
			config{"url": "http://ann:hun%40ter2@host/x"},
			nil,
			"ann got hun@ter2",
			"ann got ********",
		},
		"one with blanks": {
			config{"url": "http://ann:hunter two@host/x"},
			nil,
			"ann got hunter two",
			"ann got ********",
		},
		"one without a scheme": {
			config{"kafka.bootstrap.server": "ann:hunter2@kafka:9092"},
			nil,
			`"ann:hunter2@kafka:9092" is not host:port`,
			`"ann:********@kafka:9092" is not host:port`,
		},
		"a URL that is in the text alone": {
			nil,
			nil,
			`parse "http://ann:hunter2@host": failed`,
			`parse "http://ann:********@host": failed`,
		},
		"a list of URLs": {
			nil,
			nil,
			"http://a:b1@h,http://c:d2@h http://e:f3@h",
			"http://a:********@h,http://c:********@h http://e:********@h",
		},
		"a URL with a slash in its password": {nil, nil, "http://ann:hun/ter2@host", "http://ann:********@host"},
		"a URL with an @ in its password":    {nil, nil, "http://ann:hun@ter2@host", "http://ann:********@host"},
		"URLs without a password": {
			nil,
			nil,
			"http://ann@host http://h:80/a@b http://[::1]:80/a@b x://a:1,b:2/c@d http://h",
			"http://ann@host http://h:80/a@b http://[::1]:80/a@b x://a:1,b:2/c@d http://h",
		},
		"a worker id": {nil, nil, "192.168.1.115@8082 left", "192.168.1.115@8082 left"},
		"a host whose name sounds like a secret": {
			config{"host": "token-service:9092"},
			nil,
			"dialing token-service:9092",
			"dialing token-service:9092",
		},
		"a secret option of a value that is none": {
			config{"url": "jdbc:x://h/db?user=ann&password=hunter2"},
			nil,
			"ann got hunter2",
			"ann got ********",
		},
		"a mask that was sent back hides nothing but is it": {config{"a.password": Mask}, nil, "got ********", "got ********"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := New(tc.cfg, tc.policy).Text(tc.text)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
			if again := New(tc.cfg, tc.policy).Text(got); again != got {
				t.Errorf("a second time: %q, want %q", again, got)
			}
		})
	}
}

func TestConfigMasksWhatMayBeSecret(t *testing.T) {
	cfg := map[string]string{
		"kafka.bootstrap.server": "kafka:9092", "login": "hunter2", "unheard.of": "x", "kafka.sasl.password": "p", "empty": "",
	}
	cases := map[string]struct {
		cfg    map[string]string
		policy Policy
		shown  string
	}{
		"a class that is known":                {cfg, class, "kafka.bootstrap.server"},
		"a class that is not":                  {cfg, func(string) bool { return true }, ""},
		"where names alone tell":               {cfg, nil, "kafka.bootstrap.server login unheard.of"},
		"a URL with a password":                {map[string]string{"kafka.bootstrap.server": "http://ann:hunter2@h"}, class, ""},
		"a broker with a password":             {map[string]string{"kafka.bootstrap.server": "k:1,ann:hunter2@k:2"}, class, ""},
		"an option that says that it is one":   {map[string]string{"kafka.bootstrap.server": "h?password=hunter2"}, class, ""},
		"a user name before a host is no such": {map[string]string{"kafka.bootstrap.server": "http://ann@h"}, class, "kafka.bootstrap.server"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for key, got := range tc.policy.Config(tc.cfg) {
				want := Mask
				if tc.cfg[key] == "" || strings.Contains(" "+tc.shown+" ", " "+key+" ") {
					want = tc.cfg[key]
				}
				if got != want {
					t.Errorf("%s is shown as %q, want %q", key, got, want)
				}
			}
		})
	}
}

func TestNamed(t *testing.T) {
	for key, want := range map[string]bool{
		"kafka.client.sasl.password": true, "sasl.jaas.config": true, "api.Token": true, "clientSecret": true, "access-key": true,
		"kafka.ssl.keystore.key": true, "db_private_key": true, "kafka.topics": false, "kafka.sasl.username": false,
		"kafka.ssl.key.location": false, "kafka.ssl.keystore.certificate.chain": false, "connector.class": false,
	} {
		if got := Named(key); got != want {
			t.Errorf("%s: %v, want %v", key, got, want)
		}
	}
}

func FuzzTextHoldsNoSecret(f *testing.F) {
	f.Add("hunter2", "login with ", " refused")
	f.Add("://:@", "http", "x@")
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		if len(secret) < minWord || strings.Contains(Mask, secret) || secret == "true" || secret == "false" {
			t.Skip()
		}
		got := New(map[string]string{"x.password": secret}, nil).Text(before + secret + after)
		// What may be shown may hold it: the setting's name. What is left around the masks may form it again.
		if strings.Contains(before+after, secret) || strings.Contains("x.password", secret) || strings.Contains(before+Mask+after, secret) {
			t.Skip()
		}
		for part := range strings.SplitSeq(got, Mask) {
			if strings.Contains(part, secret) {
				t.Errorf("%q shows %q", got, secret)
			}
		}
	})
}
