package setting_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/setting"
)

func spec() connector.Spec {
	return connector.Spec{Class: "Thing", Prefixes: []string{"thing.client."}, Keys: []connector.Key{
		{Name: "name", Type: connector.String, Default: "thing"},
		{Name: "size", Type: connector.Int, Default: "3"},
		{Name: "wait", Type: connector.Duration, Default: "1500"},
		{Name: "fast", Type: connector.Bool},
		{Name: "hosts", Type: connector.List},
		{Name: "mode", Type: connector.String, Enum: []string{"a", "b"}},
		{Name: "pin", Type: connector.String, Secret: true},
		{Name: "url", Type: connector.String, Required: true, Doc: "where the thing is"},
	}}
}

// read is what a Reader makes of a config.
type read struct {
	Name, Verbatim string
	Size, Other    int
	Wait, Timeout  time.Duration
	Fast, Second   bool
	Hosts          []string
}

func readAll(r *setting.Reader) read {
	return read{Name: r.Text("name"), Verbatim: r.Value("name"), Size: r.Int("size", 1), Other: r.Int("thing.client.n", math.MinInt),
		Wait: r.Duration("wait", time.Second), Timeout: r.Duration("thing.client.timeout", math.MinInt64), Fast: r.Bool("fast"),
		Second: r.Either("thing.client.mode", "none", "all"), Hosts: r.List("hosts")}
}

func TestSettingsAreReadAndWhatIsWrongIsGathered(t *testing.T) {
	defaults := read{Name: "thing", Verbatim: "thing", Size: 3, Wait: 1500 * time.Millisecond}
	with := func(change func(*read)) read { out := defaults; change(&out); return out }
	cases := map[string]struct {
		cfg     connector.Config
		want    read
		wantErr []string // in this order, and no others
	}{
		"nothing is set": {cfg: connector.Config{"url": "u"}, want: defaults},
		"empty values are the defaults": {cfg: connector.Config{"url": "u", "name": "", "size": "", "wait": "", "thing.client.n": ""},
			want: defaults},
		"all is set": {cfg: connector.Config{"url": "u", "name": " x ", "size": "7", "wait": "2s", "fast": "1", "hosts": " b, a ,b,,",
			"thing.client.n": "-4", "thing.client.timeout": "-1", "thing.client.mode": "ALL"},
			want: read{Name: "x", Verbatim: " x ", Size: 7, Other: -4, Wait: 2 * time.Second, Timeout: -time.Millisecond, Fast: true,
				Second: true, Hosts: []string{"b", "a"}}},
		"what is required": {cfg: connector.Config{}, want: defaults, wantErr: []string{"url is required by Thing: where the thing is"}},
		"other forms, told once": {
			cfg:  connector.Config{"url": "u", "size": "big", "wait": "soon", "fast": "maybe"},
			want: defaults,
			wantErr: []string{
				`size must be a whole number, not "big"`,
				`wait must be a duration such as 500ms, or a number of milliseconds, not "soon"`,
				`fast must be true or false, not "maybe"`,
			},
		},
		"other forms of keys that the Spec does not have": {
			cfg:  connector.Config{"url": "u", "thing.client.n": "big", "thing.client.timeout": "soon"},
			want: defaults,
			wantErr: []string{`thing.client.n must be a whole number, not "big"`,
				`thing.client.timeout must be a duration such as 30s, or a number of milliseconds, not "soon"`},
		},
		"beyond the bounds": {cfg: connector.Config{"url": "u", "size": "0", "wait": "10"},
			want:    with(func(r *read) { r.Size, r.Wait = 0, 10*time.Millisecond }),
			wantErr: []string{"size must be from 1 to 1073741824, not 0", "wait must be at least 1s, not 10ms"}},
		"above the bounds": {cfg: connector.Config{"url": "u", "size": "1073741825"}, want: with(func(r *read) { r.Size = setting.MaxInt + 1 }),
			wantErr: []string{"size must be from 1 to 1073741824, not 1073741825"}},
		"neither of two": {cfg: connector.Config{"url": "u", "thing.client.mode": "some"}, want: defaults,
			wantErr: []string{`thing.client.mode must be none or all, not "some"`}},
		"none of several": {
			cfg:     connector.Config{"url": "u", "mode": "c"},
			want:    defaults,
			wantErr: []string{`mode must be one of a, b, not "c"`},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := setting.Read(spec(), tc.cfg)
			if diff := cmp.Diff(tc.want, readAll(r)); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
			got := ""
			if err := r.Err(); err != nil {
				got = err.Error()
			}
			if diff := cmp.Diff(strings.Join(tc.wantErr, "\n"), got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

// Invariant S1: values that are secrets are never shown.
func TestAValueOfASecretIsNotShown(t *testing.T) {
	r := setting.Read(spec(), connector.Config{"url": "u", "pin": "hunter2"})
	if n := r.Int("pin", 0); n != 0 {
		t.Errorf("read %d", n)
	}
	if got, want := r.Err().Error(), "pin must be a whole number"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestTheTopicsOfASink(t *testing.T) {
	for _, key := range connector.TopicKeys() {
		r := setting.Read(connector.Spec{}, connector.Config{key: "b, a"})
		if diff := cmp.Diff([]string{"b", "a"}, r.SinkTopics()); diff != "" || r.Err() != nil {
			t.Errorf("%s: %v (-want +got):\n%s", key, r.Err(), diff)
		}
	}
	r := setting.Read(connector.Spec{}, nil)
	topics := r.SinkTopics()
	if want := "topicNames is required: the RocketMQ topics to read, separated by commas"; topics != nil || r.Err() == nil ||
		r.Err().Error() != want {
		t.Errorf("without topics: %q, %v", topics, r.Err())
	}
}
