package main

import (
	"strings"
	"testing"
)

func TestWrap(t *testing.T) {
	cases := map[string]struct {
		crd     string
		want    []string
		wantErr bool
	}{
		"a CRD gets the switch and the annotation": {
			crd: "---\nkind: CustomResourceDefinition\nmetadata:\n  annotations:\n    a: b\n  name: c\n",
			want: []string{
				"{{- if .Values.crds.enabled }}\nkind:",
				"  annotations:\n    {{- if .Values.crds.keep }}\n    helm.sh/resource-policy: keep\n",
				"    a: b\n  name: c\n{{- end }}\n",
			},
		},
		"braces of a description are no template": {
			crd:  "metadata:\n  annotations:\n    a: b\ndescription: an {{example}}\n",
			want: []string{`an {{ "{{" }}example}}`},
		},
		"a CRD without annotations": {crd: "metadata:\n  name: c\n", wantErr: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := wrap([]byte(tc.crd))
			if (err != nil) != tc.wantErr {
				t.Fatalf("error %v", err)
			}
			for _, want := range tc.want {
				if !strings.Contains(string(got), want) {
					t.Errorf("%q is not in:\n%s", want, got)
				}
			}
		})
	}
}
