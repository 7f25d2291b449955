package connector

import "testing"

func TestImplied(t *testing.T) {
	files := Spec{Class: "Files", ImpliedBy: []string{"files.folder"}}
	tables := Spec{Class: "Tables", ImpliedBy: []string{"db.url", "db.tables"}}
	named := Spec{Class: "Named"}
	cases := map[string]struct {
		specs   []Spec
		cfg     map[string]string
		want    string
		wantErr string
	}{
		"the only setting": {[]Spec{named, files}, map[string]string{"files.folder": "/in"}, "Files", ""},
		"all of several":   {[]Spec{files, tables}, map[string]string{"db.url": "u", "db.tables": "t"}, "Tables", ""},
		"the first of two": {
			[]Spec{tables, files},
			map[string]string{"files.folder": "/in", "db.url": "u", "db.tables": "t"},
			"Tables",
			"",
		},
		"one of several": {
			[]Spec{files, tables},
			map[string]string{"db.url": "u"},
			"",
			"no connector class: set connector.class, or files.folder for a Files, or db.url and db.tables for a Tables",
		},
		"none of a class that says so": {[]Spec{named}, map[string]string{"x": "y"}, "", "no connector class: set connector.class"},
		"a setting without a value": {
			[]Spec{files},
			map[string]string{"files.folder": ""},
			"",
			"no connector class: set connector.class, or files.folder for a Files",
		},
		"where there are no classes": {nil, map[string]string{"x": "y"}, "", "no connector class: set connector.class"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Implied(tc.specs, tc.cfg)
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
