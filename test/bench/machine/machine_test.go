package machine

import "testing"

func TestValueIn(t *testing.T) {
	const text = "processor\t: 0\nmodel name\t: AMD EPYC\nmodel name\t: other\nMemTotal:       25165824 kB\n"
	for name, want := range map[string]string{"model name": "AMD EPYC", "MemTotal": "25165824 kB", "bogomips": "unknown"} {
		if got := valueIn(text, name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestGibibytes(t *testing.T) {
	for value, want := range map[string]string{"25165824 kB": "24 GiB", "unknown": "unknown"} {
		if got := gibibytes(value); got != want {
			t.Errorf("%q is %q, want %q", value, got, want)
		}
	}
}

func TestJavaVersionIsWhatItQuotes(t *testing.T) {
	if got := quoted("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK \"x\"\n"); got != "17.0.15" {
		t.Errorf("got %q", got)
	}
	if got := quoted("no quotes"); got != "" {
		t.Errorf("got %q of a text without quotes", got)
	}
}

func TestRocketMQVersion(t *testing.T) {
	got, err := rocketMQVersion([]byte(`{"table":{"brokerVersion":"475","brokerVersionDesc":"V5_3_3"}}`))
	if got != "5.3.3" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := rocketMQVersion([]byte("none")); err == nil {
		t.Error("no error for an answer that is none")
	}
}
