package encode

import "testing"

func TestARecordOfAnotherLogIsAStray(t *testing.T) {
	cases := map[string]struct {
		properties []Property
		want       bool
	}{
		"of this log":                     {properties: []Property{{Keys, "k"}, LogMark("configs"), {uniqID, "1"}}},
		"of an older worker":              {properties: []Property{{Keys, "k"}, {uniqID, "1"}}},
		"without anything":                {},
		"copied from another log":         {properties: []Property{{Keys, "k"}, LogMark("others")}, want: true},
		"carried by a connector":          {properties: []Property{{Keys, "k"}, {"connect-path", "x"}}, want: true},
		"carried by an older connector":   {properties: []Property{{"connect-timestamp", "1"}, {Keys, "k"}}, want: true},
		"carried, with the mark it had":   {properties: []Property{LogMark("configs"), {"connect-path", "x"}}, want: true},
		"somebody's property of its own":  {properties: []Property{{"connection", "x"}}},
		"a mark without a topic":          {properties: []Property{{logMark, ""}}, want: true},
		"the same topic in another case":  {properties: []Property{LogMark("Configs")}, want: true},
		"marked twice, once for this log": {properties: []Property{LogMark("configs"), LogMark("others")}, want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Stray(tc.properties, "configs"); got != tc.want {
				t.Errorf("stray: %t, want %t", got, tc.want)
			}
		})
	}
}
