//go:build unix

package cluster

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func FuzzStoreLockTakesAnything(f *testing.F) {
	f.Add([]byte(`{"store":"00112233445566778899aabbccddeeff","start":4,"pid":7,"host":"h"}`))
	f.Add([]byte(`{"store":"abc","start":9223372036854775807}`))
	f.Add([]byte(`{"store":"abc","start":-9}`))
	f.Add([]byte(`{"store":"` + strings.Repeat("<", 490) + `"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, lockName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		var starts []int64
		for range 2 {
			l, err := lockStore(dir)
			if err != nil {
				t.Fatal(err)
			}
			h, err := l.read()
			if err != nil || h.Store == "" || h.PID != os.Getpid() {
				t.Errorf("the lock says %+v, %v", h, err)
			}
			starts = append(starts, h.Start)
			if err := l.close(); err != nil {
				t.Fatal(err)
			}
		}
		if starts[0] < 1 || starts[1] != starts[0]+1 {
			t.Errorf("the starts are numbered %v", starts)
		}
	})
}
