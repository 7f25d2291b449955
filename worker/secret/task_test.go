package secret

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTasksAreStoredWithReferences(t *testing.T) {
	w := newTree(t)
	stored := map[string]string{
		"url":      "db://ann:${secret:kafka:password}@h",
		"password": "${secret:kafka:password}",
		"topics":   "orders",
		"hint":     "hunter2 is famous",
	}
	resolved, err := w.resolver.Resolve(stored)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		task, want map[string]string
		err        string
	}{
		"copies": {resolved.Config, stored, ""},
		"a share of the work": {
			map[string]string{"tables": "a,b", "password": "hunter2"},
			map[string]string{"tables": "a,b", "password": "${secret:kafka:password}"},
			"",
		},
		"nothing": {map[string]string{}, map[string]string{}, ""},
		"what the config had before": {
			map[string]string{"hint": "hunter2 is famous"},
			map[string]string{"hint": "hunter2 is famous"},
			"",
		},
		"what looks like another reference":   {map[string]string{"tables": "${env:HOME}"}, map[string]string{"tables": "${env:HOME}"}, ""},
		"a value under another name":          {map[string]string{"pass": "hunter2"}, nil, "pass of a task would be stored"},
		"a value inside another one":          {map[string]string{"url": "db://ann:hunter2@h/table"}, nil, "url of a task would be stored"},
		"a setting that holds one, elsewhere": {map[string]string{"where": "db://ann:hunter2@h"}, nil, "where of a task would be stored"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := resolved.Unresolve(stored, tc.task)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("got %v, want %q", err, tc.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
			started := resolved.Task(stored, got)
			if diff := cmp.Diff(tc.task, started); diff != "" {
				t.Errorf("the task starts with (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSecretsInTheClear(t *testing.T) {
	hides := func(key, value string) bool { return strings.HasPrefix(value, "hunter2") }
	got := InClear(map[string]string{"b": "hunter2", "a": "hunter2", "c": "x"}, hides)
	if diff := cmp.Diff([]string{"a", "b"}, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	if err := RefuseClear("a"); !errors.Is(err, ErrRefused) || !strings.HasPrefix(err.Error(), "a: a secret in the clear is refused") {
		t.Error(err)
	}
}

func TestReferencesAreRefusedWhereWorkersStoreTheValue(t *testing.T) {
	public := func(key string) bool { return key == "topics" || key == "max.tasks" }
	err := Misplaced(
		map[string]string{"topics": "orders,${secret:a:b}", "max.tasks": "${env:N}", "password": "${secret:a:b}", "format": "${topic}"},
		public,
	)
	want := "max.tasks refers to ${env:N}: workers store and show what it says: write it out\n" +
		"topics refers to ${secret:a:b}: workers store and show what it says: write it out"
	if err == nil || err.Error() != want || !errors.Is(err, ErrRefused) {
		t.Errorf("got %v, want %s", err, want)
	}
	if err := Misplaced(map[string]string{"topics": "${topic}", "password": "${secret:a:b}"}, public); err != nil {
		t.Error(err)
	}
}

func TestCheckLooksAtFormsAlone(t *testing.T) {
	found, err := Check(map[string]string{"a": "${secret:none:none}", "b": "${file:/none:x}${secret:x}", "c": "${topic}"})
	if want := "b refers to ${secret:x}: write ${secret:name:key}"; !found || err == nil || !strings.HasPrefix(err.Error(), want) ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("got %t, %v; want %s", found, err, want)
	}
	if found, err := Check(map[string]string{"c": "${topic}"}); found || err != nil {
		t.Errorf("without references: %t, %v", found, err)
	}
}
