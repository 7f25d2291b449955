package rmq

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestATroubleIsOneForAsLongAsItIsAlike(t *testing.T) {
	full := func(percent int) error {
		return fmt.Errorf(
			"sending: %w",
			&BrokerError{Op: "sending", Addr: "10.0.0.1:10911", Code: 14, Remark: fmt.Sprintf("disk full %d%%", percent)},
		)
	}
	cut := fmt.Errorf("read tcp 10.0.0.9:40001: %w", ErrUnreachable)
	refused := fmt.Errorf("dial tcp 10.0.0.1: %w", ErrUnreachable)
	other := errors.New("something else")
	cases := map[string]struct {
		tries     []error // one each second; nil worked
		since     int
		alike     int
		wantFails bool
	}{
		"nothing was tried":                    {},
		"all is well again":                    {tries: []error{full(96), nil}},
		"one answer whose figures change":      {tries: []error{full(96), full(97)}, wantFails: true},
		"one broker that is away in many ways": {tries: []error{nil, cut, refused}, since: 1, alike: 1, wantFails: true},
		"another trouble follows":              {tries: []error{cut, refused, full(96), full(97)}, alike: 2, wantFails: true},
		"it worked in between":                 {tries: []error{other, nil, other}, since: 2, alike: 2, wantFails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			begin := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
			at := func(second int) time.Time { return begin.Add(time.Duration(second) * time.Second) }
			var f Failing
			for i, err := range tc.tries {
				if err == nil {
					f.Worked()
				} else {
					f.Failed(at(i), err)
				}
			}
			got, newest, ok := f.Trouble()
			if !tc.wantFails {
				if ok || got != (Trouble{}) {
					t.Errorf("got %+v, want no trouble", got)
				}
				return
			}
			last := len(tc.tries) - 1
			if want := (Trouble{Since: at(tc.since), Alike: at(tc.alike), Err: tc.tries[last]}); !ok || got != want || !newest.Equal(at(last)) {
				t.Errorf("got %+v %v %t, want %+v %v", got, newest, ok, want, at(last))
			}
		})
	}
}
