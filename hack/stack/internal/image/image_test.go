package image

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestAnImageIsTheSameEachTimeAndNamed(t *testing.T) {
	dir := t.TempDir()
	binary, cas := filepath.Join(dir, "worker"), filepath.Join(dir, "ca.crt")
	for path, content := range map[string]string{binary: "program", cas: "certificates"} {
		if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	spec := Spec{Name: "docker.io/rocketmq-connect/worker:dev", Binary: binary, CAs: cas}
	var sums [2]string
	for i := range sums {
		path := filepath.Join(dir, "out", "image.tar")
		if err := Write(path, spec); err != nil {
			t.Fatal(err)
		}
		index := indexOf(t, path)
		if len(index.Manifests) != 1 {
			t.Fatalf("%d manifests, want 1", len(index.Manifests))
		}
		m := index.Manifests[0]
		for _, key := range []string{"io.containerd.image.name", "org.opencontainers.image.ref.name"} {
			if m.Annotations[key] != spec.Name {
				t.Errorf("%s is %q, want %q", key, m.Annotations[key], spec.Name)
			}
		}
		sums[i] = m.Digest
	}
	if sums[0] != sums[1] {
		t.Errorf("the same program gives two images: %s and %s", sums[0], sums[1])
	}
	left, err := filepath.Glob(filepath.Join(dir, "out", ".image-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

func TestAMissingProgramIsNamed(t *testing.T) {
	if err := Write(filepath.Join(t.TempDir(), "x.tar"), Spec{Name: "x", Binary: "/none"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Write fails with %v", err)
	}
}

type index struct {
	Manifests []struct {
		Digest      string            `json:"digest"`
		Annotations map[string]string `json:"annotations"`
	} `json:"manifests"`
}

func indexOf(t *testing.T, path string) index {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("looking for index.json: %v", err)
		}
		if h.Name != "index.json" {
			continue
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		var i index
		if err := json.Unmarshal(b, &i); err != nil {
			t.Fatal(err)
		}
		return i
	}
}
