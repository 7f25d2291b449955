package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func valid() Worker {
	w := Default()
	w.NamesrvAddrs = []string{"127.0.0.1:9876"}
	return w
}

func TestValidate(t *testing.T) {
	cases := map[string]struct {
		change func(*Worker)
		want   []string // beginnings of the lines
	}{
		"the defaults with name servers are valid": {change: func(*Worker) {}},
		"name servers are required":                {func(w *Worker) { w.NamesrvAddrs = nil }, []string{"namesrvAddr is required"}},
		"addresses are host:port": {
			func(w *Worker) { w.NamesrvAddrs, w.AdvertisedAddress = []string{"a", "b:0", "c:1"}, ":1" },
			[]string{`namesrvAddr must be host:port, not "a"`, `namesrvAddr must be host:port, not "b:0"`, "advertisedAddress must be"},
		},
		"host names without ports": {
			func(w *Worker) { w.HTTPHostNames = []string{"a.b", "*.c", "d:80", "*", "http://e"} },
			[]string{
				`httpHostNames must be host names without port, such as connect.example.com or *.example.com, not "d:80"`,
				"httpHostNames must be",
				"httpHostNames must be",
			},
		},
		"ports":          {func(w *Worker) { w.HTTPPort = 70000 }, []string{"httpPort must be from 1 to 65535, not 70000"}},
		"a port for two": {func(w *Worker) { w.ProbePort = w.HTTPPort }, []string{"probePort must not be httpPort (8082)"}},
		"no port":        {func(w *Worker) { w.ProbePort = -1 }, []string{"probePort must be from 1 to 65535, or 0"}},
		"limits that leave something": {
			func(w *Worker) { w.HTTPConnections, w.HTTPStreamsPerAddress = 60, 64 },
			[]string{
				"httpConnectionsPerAddress must be from 4 to httpConnections (60), not 64",
				"httpStreams must be at least 1 and less than httpConnections (60)",
				"httpStreamsPerAddress must be at least 1",
			},
		},
		"a certificate with its key": {change: func(w *Worker) { w.HTTPTLSCert, w.HTTPTLSKey, w.HTTPTLSClientCA = "c", "k", "a" }},
		"a certificate alone":        {func(w *Worker) { w.HTTPTLSCert = "c" }, []string{"httpTlsKey is required with httpTlsCert"}},
		"a certificate's key alone":  {func(w *Worker) { w.HTTPTLSKey = "k" }, []string{"httpTlsCert is required with httpTlsKey"}},
		"authorities of callers without a certificate": {
			func(w *Worker) { w.HTTPTLSClientCA = "a" }, []string{"httpTlsCert and httpTlsKey are required with httpTlsClientCA"},
		},
		"a store directory": {func(w *Worker) { w.StoreDir = "" }, []string{"storePathRootDir is required"}},
		"names RocketMQ takes": {
			func(w *Worker) { w.ClusterID, w.Topics.Offset, w.Topics.Status = "a b", "", strings.Repeat("x", 121) },
			[]string{"connectClusterId may only have letters", "offsetStoreTopic must not be empty", "statusStoreTopic must have at most 120"},
		},
		"topics of their own": {
			func(w *Worker) { w.Topics.Offset = w.Topics.Position },
			[]string{"positionStoreTopic and offsetStoreTopic must not be the same topic"},
		},
		"worker ids without blanks": {func(w *Worker) { w.WorkerID = "a b" }, []string{"workerId must have no white space"}},
		"credentials with access control": {
			func(w *Worker) { w.ACLEnable = true },
			[]string{"accessKey is required", "secretKey is required"},
		},
		"credentials from one place": {
			func(w *Worker) { w.ACLEnable, w.CredentialsDir, w.AccessKey = true, "/c", "a" },
			[]string{"accessKey and secretKey must not be set beside credentialsDir"},
		},
		"credentials that are not used": {
			func(w *Worker) { w.CredentialsDir = "/c" },
			[]string{"credentialsDir has no effect without aclEnable=true: set that, or leave out credentialsDir"},
		},
		"TLS with all of it": {change: func(w *Worker) {
			w.TLSEnable, w.TLSCA, w.TLSCert, w.TLSKey, w.TLSServerName = true, "/ca", "/cert", "/key", "rocketmq.example.com"
		}},
		"TLS with a name that is an address": {change: func(w *Worker) { w.TLSEnable, w.TLSServerName = true, "fd00::1" }},
		"TLS that is not enabled": {
			func(w *Worker) { w.TLSCA, w.TLSServerName = "/ca", "a" },
			[]string{
				"tlsCA has no effect without tlsEnable=true: set that, or leave out tlsCA",
				"tlsServerName has no effect without tlsEnable=true",
			},
		},
		"TLS with half of a pair": {func(w *Worker) { w.TLSEnable, w.TLSCert = true, "/cert" }, []string{"tlsKey is required with tlsCert"}},
		"TLS with the other half": {func(w *Worker) { w.TLSEnable, w.TLSKey = true, "/key" }, []string{"tlsCert is required with tlsKey"}},
		"TLS with a port": {
			func(w *Worker) { w.TLSEnable, w.TLSServerName = true, "a:1" },
			[]string{"tlsServerName must be one host name without port"},
		},
		"TLS with several names": {
			func(w *Worker) { w.TLSEnable, w.TLSServerName = true, "*.a" },
			[]string{"tlsServerName must be one host name without port"},
		},
		"folders and variables of secrets": {
			func(w *Worker) {
				w.SecretsDir, w.SecretDirs, w.SecretEnv = "", []string{"/a", "b", "/", "/x/.."}, []string{"A_1", "A-B", "*"}
			},
			[]string{
				`secretsDir must be the absolute path of a folder, and not that of all files, not "."`,
				`secretDirs must be the absolute path of a folder`,
				`secretDirs must be`,
				`secretDirs must be`,
				`secretEnv must be names of variables, with letters, digits and _, not "A-B"`,
				"secretEnv must be",
			},
		},
		"what secret keys may hold": {
			func(w *Worker) { w.ConfigSecrets = "references" },
			[]string{"config.secrets must be one of any, reference-only, not"},
		},
		"choices": {
			func(w *Worker) { w.RESTCompat, w.Strategy, w.LogLevel, w.LogFormat = "x", "y", "loud", "xml" },
			[]string{
				"restCompat must be one of old, new",
				"allocTaskStrategy must be one of",
				"logLevel must be one of",
				"logFormat must be one of",
			},
		},
		"the ring": {
			func(w *Worker) { w.VirtualNode, w.MaxLoadFactor = 0, 0.5 },
			[]string{"virtualNode must be from 1", "maxLoadFactor must be 0"},
		},
		"a plain ring": {change: func(w *Worker) { w.MaxLoadFactor = 0 }},
		"times that leave no room for a batch": {
			func(w *Worker) { w.SendTimeout = 4 * time.Second },
			[]string{"sendTimeout (4s) and two heartbeatIntervals (500ms) must fit in 0.9 of sessionTimeout (5s)"},
		},
		"the shortest session": {change: func(w *Worker) {
			w.SessionTimeout, w.HeartbeatInterval, w.SendTimeout = time.Second, 200*time.Millisecond, 300*time.Millisecond
		}},
		"heartbeats too rare": {
			func(w *Worker) { w.HeartbeatInterval, w.SendTimeout = 2*time.Second, 100*time.Millisecond },
			[]string{"heartbeatInterval (2s) must be at most a third"},
		},
		"times out of range": {
			func(w *Worker) { w.FlushInterval, w.DrainTimeout, w.RebalanceDelay = 0, 0, -1 },
			[]string{"rebalanceDelay must be", "positionPersistInterval must be", "drainTimeout must be"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := valid()
			tc.change(&w)
			var got []string
			if err := w.Validate(); err != nil {
				got = strings.Split(err.Error(), "\n")
			}
			if len(got) != len(tc.want) {
				t.Fatalf("got %q, want %q", got, tc.want)
			}
			for i, want := range tc.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got %q, want %q", got[i], want)
				}
			}
		})
	}
}

func TestConnectorKeys(t *testing.T) {
	cases := map[string]struct {
		cfg       map[string]string
		wantClass string
		wantTasks int
		wantErr   string
	}{
		"an implied class":  {map[string]string{"tasks.num": "4", "of.x": "1"}, "X", 4, ""},
		"both":              {map[string]string{"connector.class": "Z", "of.x": "1"}, "Z", 1, ""},
		"an explicit class": {map[string]string{"connector.class": " x.Y ", "max.tasks": "3", "tasks.num": "9"}, "x.Y", 3, ""},
		"the old class key": {map[string]string{"connector-class": "Z"}, "Z", 1, ""},
		"no class":          {map[string]string{"topicNames": "t"}, "", 1, "no connector class"},
		"no number": {
			map[string]string{"connector.class": "Z", "max.tasks": "many"},
			"Z",
			0,
			"max.tasks must be a whole number from 1 to 1024",
		},
		"too many": {map[string]string{"connector.class": "Z", "tasks.num": "2000"}, "Z", 0, "tasks.num must be"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			class, classErr := ClassOf(tc.cfg, func(cfg map[string]string) (string, error) {
				if cfg["of.x"] == "" {
					return "", errors.New("no connector class")
				}
				return "X", nil
			})
			tasks, tasksErr := MaxTasks(tc.cfg)
			if class != tc.wantClass || tasks != tc.wantTasks {
				t.Errorf("got %q, %d", class, tasks)
			}
			if text := errorText(classErr) + errorText(tasksErr); !strings.HasPrefix(text, tc.wantErr) || tc.wantErr == "" && text != "" {
				t.Errorf("error %q, want %q", text, tc.wantErr)
			}
		})
	}
}

func TestReservedNames(t *testing.T) {
	for key, want := range map[string][2]bool{ // reserved, set by a field
		"name": {true, true}, "connector.class": {true, true}, "tasks.num": {true, true}, "connect.internal.x": {true, true},
		"errors.tolerance": {true, false}, "errors.tolerence": {false, false}, "transforms": {false, false},
		"topic.rename.format": {true, false}, "kafka.topics": {false, false},
	} {
		if got := [2]bool{Reserved(key), SetByField(key)}; got != want {
			t.Errorf("%s: reserved, by field = %v, want %v", key, got, want)
		}
	}
}

func TestCredentials(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := valid()
	w.AccessKey, w.SecretKey = "a", "s"
	if c, err := w.Credentials(); err != nil || c != (Credentials{}) {
		t.Errorf("without access control: %v, %v", c, err)
	}
	w.ACLEnable = true
	if c, err := w.Credentials(); err != nil || c != (Credentials{AccessKey: "a", SecretKey: "s"}) {
		t.Errorf("from the file: %v, %v", c, err)
	}
	w.AccessKey, w.SecretKey, w.CredentialsDir = "", "", dir
	if _, err := w.Credentials(); err == nil {
		t.Error("missing files are no error")
	}
	write("accessKey", "a1\n")
	write("secretKey", "\n")
	if _, err := w.Credentials(); err == nil {
		t.Error("an empty file is no error")
	}
	write("secretKey", "s1\n")
	write("securityToken", "t1")
	c, err := w.Credentials()
	if diff := cmp.Diff(Credentials{"a1", "s1", "t1"}, c); err != nil || diff != "" {
		t.Errorf("from the folder: %v %s", err, diff)
	}
}

func TestNearest(t *testing.T) {
	candidates := []string{"kafka.topics", "kafka.bootstrap.server", "poll.timeout"}
	for name, want := range map[string]string{"kafka.topic": "kafka.topics", "Kafka.bootstrap.servers": "kafka.bootstrap.server", "zzz": ""} {
		if got := Nearest(name, candidates); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
}

func TestCharacters(t *testing.T) {
	cases := map[string]struct{ key, value, want string }{
		"a certificate":            {"ca", "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----\n", ""},
		"a certificate of Windows": {"ca", "-----BEGIN CERTIFICATE-----\r\nMII\r\n-----END CERTIFICATE-----\r\n", ""},
		"a JAAS line in lines":     {"sasl.jaas.config", "x required\n\tusername=\"u\"\n\tpassword=\"p\";", ""},
		"another script":           {"ключ ✓", "значение 🚀\u200d", ""},
		"a NUL in a value":         {"a", "x\x00y", "a holds the control character U+0000 at byte 1 of its value: take it out"},
		"a NUL after a line end":   {"a", "x\r\n\x00", "a holds the control character U+0000 at byte 3"},
		"a carriage return alone":  {"a", "x\ry", "a holds the control character U+000D at byte 1"},
		"an escape":                {"a", "\x1b[2J", "a holds the control character U+001B at byte 0"},
		"a delete":                 {"a", "\x7f", "a holds the control character U+007F at byte 0"},
		"a C1 control":             {"a", "é\u0085", "a holds the control character U+0085 at byte 2"},
		"a NUL in a name": {
			"kafka\x00topics",
			"x",
			`config has the setting "kafka\x00topics", whose name holds U+0000 at byte 5`,
		},
		"a line end in a name":            {"a\n", "x", `config has the setting "a\n", whose name holds U+000A at byte 1`},
		"a tab in a name":                 {"\ta", "x", `config has the setting "\ta", whose name holds U+0009 at byte 0`},
		"a name that is written backward": {"a\u202eb", "x", `config has the setting "a\u202eb", whose name holds U+202E at byte 1`},
		"a name with an invisible letter": {"a\u200bb", "x", `config has the setting "a\u200bb", whose name holds U+200B at byte 1`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := errorText(Characters(map[string]string{tc.key: tc.value}))
			if !strings.HasPrefix(got, tc.want) || tc.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestNotYet(t *testing.T) {
	for key, want := range map[string]string{
		"transforms": "transform", "transforms.mask.type": "transform", "value.converter": "convert", "key.converter": "convert",
		"header.converter": "convert", "value.converter.schemas.enable": "convert", "kafka.value.converter": "convert",
		"connect.topicname": "one topic", "connect-topicname": "one topic",
		"connect.topicnames": "", "source-record-converter": "", "transformers": "", "value.converters": "",
		"kafka.topics": "", "errors.log.enable": "",
	} {
		got := errorText(NotYet(key))
		if want == "" && got != "" || want != "" && (!strings.HasPrefix(got, key+": this worker cannot ") || !strings.Contains(got, want)) {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}
