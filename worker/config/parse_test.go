package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// documents is the file of the user's documents, trailing comments included.
const documents = `workerId=CONNECTOR_WORKER_1  #本节点名称,各个worker之间必须唯一
storePathRootDir=E:/rocketmq-connect/storeRoot #本地持久化文件路径,保存偏移量和config信息

# Http port for user to access REST API
httpPort=8082 #rest地址

# Rocketmq namesrvAddr
namesrvAddr=127.0.0.1:9876  #sink端会从改nameSrv指定的rocketMQ集群上拉取消息,同时也会作为节点信息交换的媒介

# RocketMQ acl #账号需要有admin的权限
aclEnable=false
accessKey=rocketmq
secretKey=12345678

autoCreateGroupEnable=true #自动调用admin工具创建consumerGroup.如手工创建可设置为false

#sink和source插件的目录
pluginPaths=C:/Users/11722/.m2/repository/a,C:/Users/11722/.m2/repository/b
`

func TestParse(t *testing.T) {
	with := func(change func(*Worker)) Worker {
		w := Default()
		change(&w)
		return w
	}
	cases := map[string]struct {
		file         string
		want         Worker
		wantWarnings []string
		wantErrs     []string
	}{
		"an empty file gives the defaults": {want: Default()},
		"the documents' file with its trailing comments": {
			file: documents,
			want: with(func(w *Worker) {
				w.WorkerID, w.StoreDir, w.HTTPPort = "CONNECTOR_WORKER_1", "E:/rocketmq-connect/storeRoot", 8082
				w.NamesrvAddrs, w.AccessKey, w.SecretKey = []string{"127.0.0.1:9876"}, "rocketmq", "12345678"
				w.PluginPaths = []string{"C:/Users/11722/.m2/repository/a", "C:/Users/11722/.m2/repository/b"}
			}),
		},
		"the Java class names of strategies": {
			file: "allocTaskStrategy=org.apache.rocketmq.connect.runtime.service.strategy.DefaultAllocateConnAndTaskStrategy\nvirtualNode=2",
			want: with(func(w *Worker) { w.Strategy, w.VirtualNode = Averagely, 2 }),
		},
		"name servers by semicolon or comma, blanks ignored": {
			file: "namesrvAddr = a:1; b:2 ,c:3;",
			want: with(func(w *Worker) { w.NamesrvAddrs = []string{"a:1", "b:2", "c:3"} }),
		},
		"durations in Go's form or as milliseconds": {
			file: "sessionTimeout=1m\npositionPersistInterval=20000\nrebalanceDelay=1.5s",
			want: with(func(w *Worker) {
				w.SessionTimeout, w.FlushInterval, w.RebalanceDelay = time.Minute, 20*time.Second, 1500*time.Millisecond
			}),
		},
		"byte order mark, CRLF, colon, leading blanks and continued lines": {
			file: "\ufeffhttpPort: 9000\r\n  namesrvAddr=a:1;\\\r\n    b:2\r\n! a comment\r\n",
			want: with(func(w *Worker) { w.HTTPPort, w.NamesrvAddrs = 9000, []string{"a:1", "b:2"} }),
		},
		"escapes of Java properties; other backslashes stay": {
			file: `secretKey=a\u0041\=\#b` + "\n" + `storePathRootDir=C:\\data\store`,
			want: with(func(w *Worker) { w.SecretKey, w.StoreDir = "aA=#b", `C:\data\store` }),
		},
		"a # without white space before it belongs to the value": {
			file: "secretKey=a#b",
			want: with(func(w *Worker) { w.SecretKey = "a#b" }),
		},
		"an empty value is as none": {file: "httpPort= # later", want: Default()},
		"unknown keys, keys without effect and keys set twice are warned about": {
			file: "nameservAddr=a:1\nclusterName=c\nfoo=1\nhttpPort=1\nhttpPort=2",
			want: with(func(w *Worker) { w.HTTPPort = 2 }),
			wantWarnings: []string{
				"line 1: nameservAddr: unknown key, ignored; did you mean namesrvAddr?",
				"line 2: clusterName: a key of the Java runtime that has no effect here",
				"line 3: foo: unknown key, ignored",
				"line 5: httpPort: set again, the value of line 4 is not used",
			},
		},
		"every wrong line is reported with line and key": {
			file: "httpPort=80x\njust words\naclEnable=maybe\n=1\nallocTaskStrategy=Best\nsendTimeout=soon\nmaxLoadFactor=x",
			wantErrs: []string{
				`line 1: httpPort must be a whole number, not "80x"`,
				`line 2: not of the form key=value`,
				`line 3: aclEnable must be true or false, not "maybe"`,
				`line 4: the key before = is missing`,
				`line 5: allocTaskStrategy must be ConsistentHash or Averagely (or their Java class names), not "Best"`,
				`line 6: sendTimeout must be a duration such as 500ms, or a number of milliseconds, not "soon"`,
				`line 7: maxLoadFactor must be a number, not "x"`,
			},
		},
		"a line without a value shows its key at most": {
			file:     "secretKey 12345678\n12345678",
			wantErrs: []string{`line 1: "secretKey" is not of the form key=value`, `line 2: not of the form key=value`},
		},
		"where secrets of connectors are": {
			file: "secretsDir=/s\nsecretDirs=/a, /b/c\nsecretEnv=A,B_1\nconfig.secrets=reference-only",
			want: with(func(w *Worker) {
				w.SecretsDir, w.SecretDirs, w.SecretEnv, w.ConfigSecrets = "/s", []string{"/a", "/b/c"}, []string{"A", "B_1"}, SecretsReferenceOnly
			}),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, warnings, err := Parse(strings.NewReader(tc.file))
			var texts []string
			for _, w := range warnings {
				texts = append(texts, w.String())
			}
			if diff := cmp.Diff(tc.wantWarnings, texts); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(strings.Join(tc.wantErrs, "\n"), errorText(err)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.want, got); err == nil && diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestParseRefusesAHugeFile(t *testing.T) {
	if _, _, err := Parse(strings.NewReader(strings.Repeat("#", maxFile+1))); err == nil {
		t.Error("want an error")
	}
	broken := errors.New("disk")
	if _, _, err := Parse(failing{broken}); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestDefaultsAreGolden(t *testing.T) {
	t.Setenv("HOME", "/home/user")
	got := strings.ReplaceAll(Default().String(), " ", "\n") + "\n"
	path := filepath.Join("testdata", "defaults.golden.conf")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("defaults changed (-want +got); go test ./worker/config -update rewrites:\n%s", diff)
	}
}

func TestStringHidesSecrets(t *testing.T) {
	w := Default()
	w.AccessKey, w.SecretKey, w.SecurityToken = "AK-1", "SK-2", "ST-3"
	for _, text := range []string{w.String(), w.GoString()} {
		for _, secret := range []string{"AK-1", "SK-2", "ST-3"} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %s", text, secret)
			}
		}
	}
}

func TestFromEnv(t *testing.T) {
	env := map[string]string{"WORKER_ID": "w-0", "POD_IP": "10.0.0.7", "NAMESRV_ADDR": "a:1;b:2"}
	get := func(name string) string { return env[name] }
	w := Default()
	w.FromEnv(get)
	if w.WorkerID != "w-0" || w.AdvertisedAddress != "10.0.0.7:8082" || len(w.NamesrvAddrs) != 2 {
		t.Errorf("got %s", w)
	}
	w = Default()
	w.WorkerID, w.AdvertisedAddress, w.NamesrvAddrs = "mine", "h:1", []string{"n:1"}
	want := w
	w.FromEnv(get)
	if diff := cmp.Diff(want, w); diff != "" {
		t.Errorf("the file is overruled (-want +got):\n%s", diff)
	}
}

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "connect.conf")
	if _, _, err := ReadFile(path); err == nil {
		t.Error("a missing file is no error")
	}
	if err := os.WriteFile(path, []byte("namesrvAddr=a:1\nx=1"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, warnings, err := ReadFile(path)
	if err != nil || len(warnings) != 1 || w.NamesrvAddrs[0] != "a:1" {
		t.Errorf("got %s, %v, %v", w, warnings, err)
	}
	if err := os.WriteFile(path, []byte("httpPort=x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := ReadFile(path); err == nil {
		t.Error("a wrong file is no error")
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{documents, "a=b\\\nc", "\\", "=\\u00", "httpPort=1 # x", "a\\=b:c", "\ufeff#"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file string) {
		w, warnings, err := Parse(strings.NewReader(file))
		lines := strings.Count(file, "\n") + strings.Count(file, "\r") + 1
		for _, warning := range warnings {
			if warning.Line < 1 || warning.Line > lines {
				t.Errorf("%s: the file has %d lines", warning, lines)
			}
		}
		if err == nil {
			_ = w.Validate()
		}
	})
}
