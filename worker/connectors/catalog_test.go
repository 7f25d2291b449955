package connectors

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/connector"
)

func TestCatalog(t *testing.T) {
	names := map[string]bool{}
	for _, spec := range Catalog().List() {
		for _, name := range append([]string{spec.Class}, spec.Aliases...) {
			if names[name] {
				t.Errorf("class %s is listed twice", name)
			}
			names[name] = true
			found, err := Catalog().Find(name)
			if err != nil || found.Spec().Class != spec.Class {
				t.Errorf("finding %s: %v", name, err)
			}
			_, isSource := found.(connector.SourceConnector)
			_, isSink := found.(connector.SinkConnector)
			if isSource != (spec.Kind == connector.KindSource) || isSink != (spec.Kind == connector.KindSink) {
				t.Errorf("%s is a %s but source=%v sink=%v", name, spec.Kind, isSource, isSink)
			}
		}
		if spec.Version == "" {
			t.Errorf("%s has no version", spec.Class)
		}
		for _, key := range spec.Keys {
			if key.Name == "" || key.Doc == "" || key.Type == "" {
				t.Errorf("key %q of %s is not described", key.Name, spec.Class)
			}
		}
	}
}

func TestFindListsWhatThereIs(t *testing.T) {
	_, err := Catalog().Find("KafkaSorce")
	for _, want := range []string{`"KafkaSorce"`, "KafkaSource", "KafkaSink"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in: %v", want, err)
		}
	}
}

// Configs of the Java runtime name no class. Every built-in class says by which settings it is meant.
func TestTheClassOfAConfigThatNamesNone(t *testing.T) {
	cases := map[string]struct {
		cfg     map[string]string
		want    string
		wantErr string
	}{
		"the documents' source": {map[string]string{"tasks.num": "4", "kafka.topics": "t", "kafka.bootstrap.server": "b"}, "KafkaSource", ""},
		"the documents' sink":   {map[string]string{"topicNames": "t", "tasks.num": "2", "kafka.bootstrap.server": "b"}, "KafkaSink", ""},
		"both":                  {map[string]string{"topicNames": "t", "kafka.topics": "t", "kafka.bootstrap.server": "b"}, "KafkaSource", ""},
		"half of the sink": {
			map[string]string{"topicNames": "t"},
			"",
			"no connector class: set connector.class, or kafka.topics for a KafkaSource, or topicNames and kafka.bootstrap.server for a KafkaSink",
		},
		"an empty setting": {
			map[string]string{"kafka.topics": ""},
			"",
			"no connector class: set connector.class, or kafka.topics for a KafkaSource, or topicNames and kafka.bootstrap.server for a KafkaSink",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Catalog().Implied(tc.cfg)
			text := ""
			if err != nil {
				text = err.Error()
			}
			if got != tc.want || text != tc.wantErr {
				t.Errorf("got %q, %q, want %q, %q", got, text, tc.want, tc.wantErr)
			}
		})
	}
}

// Each class is held to its contract by the acceptance suite, in the tests of its package.
func TestEveryClassRunsItsAcceptanceSuite(t *testing.T) {
	const here = "github.com/rocketmq-connect/operator/worker/connectors/"
	for _, class := range Catalog().all {
		name, of := class.Spec().Class, reflect.TypeOf(class)
		files, err := filepath.Glob(filepath.Join(strings.TrimPrefix(of.PkgPath(), here), "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		want, runs := "connectortest.Run"+string(class.Spec().Kind)+"(t, "+of.Name()+"{}", false
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			runs = runs || strings.Contains(string(text), want)
		}
		if !runs {
			t.Errorf("%s: none of %d test files has %s", name, len(files), want)
		}
	}
}
