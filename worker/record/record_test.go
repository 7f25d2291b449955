package record

import "testing"

func TestAPositionKeepsItsNote(t *testing.T) {
	cases := map[string]struct {
		position Position
		wantBare Position
		wantNote string
	}{
		"without a note":               {position: "1042", wantBare: "1042"},
		"with a note":                  {position: Position("1042").Noted("AAAA"), wantBare: "1042", wantNote: "AAAA"},
		"with an empty note":           {position: Position("1042").Noted(""), wantBare: "1042"},
		"that ends like a mark":        {position: "\xfe\x00", wantBare: "\xfe\x00"},
		"that looks as if it had one":  {position: "\xfe\x00\xff", wantBare: "\xfe", wantNote: "\xff"},
		"nothing read yet":             {},
		"nothing read yet with a note": {position: Position("").Noted("n"), wantNote: "n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bare, note := tc.position.Split()
			if bare != tc.wantBare || note != tc.wantNote {
				t.Errorf("%q and %q, want %q and %q", bare, note, tc.wantBare, tc.wantNote)
			}
			if again := bare.Noted(note); again != tc.position {
				t.Errorf("put together again it is %q, not %q", again, tc.position)
			}
		})
	}
}
