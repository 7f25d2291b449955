package main

import (
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func TestEachBaseGetsItsDigest(t *testing.T) {
	cases := map[string]struct{ file, want string }{
		"a base": {"FROM golang:1.26\n", "FROM golang:1.26@sum(golang:1.26)\n"},
		"with a platform and a stage": {
			"FROM --platform=$BUILDPLATFORM golang:1.26 AS build\n",
			"FROM --platform=$BUILDPLATFORM golang:1.26@sum(golang:1.26) AS build\n",
		},
		"an older digest":    {"FROM a/b:c@sha256:0 AS x\n", "FROM a/b:c@sum(a/b:c) AS x\n"},
		"a stage of its own": {"FROM a:1 AS build\nFROM build\n", "FROM a:1@sum(a:1) AS build\nFROM build\n"},
		"nothing to pin":     {"FROM scratch\nFROM $BASE\nCOPY --from=a /x /x\n", "FROM scratch\nFROM $BASE\nCOPY --from=a /x /x\n"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := pin([]byte(tc.file), func(image string) (string, error) { return "sum(" + image + ")", nil })
			if err != nil || string(got) != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
	away := errors.New("away")
	if _, err := pin([]byte("FROM a:1\n"), func(string) (string, error) { return "", away }); !errors.Is(err, away) {
		t.Errorf("got %v", err)
	}
}

// What the project's own Dockerfile is built on is pinned as the registry has it: here one in this process.
func TestTheRegistryIsAsked(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(host + "/base:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, image); err != nil {
		t.Fatal(err)
	}
	want, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(path, []byte("FROM "+host+"/base:1 AS x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time nothing changes
		if err := rewrite(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got) != "FROM "+host+"/base:1@"+want.String()+" AS x\n" {
			t.Errorf("got %s", got)
		}
	}
	if err := os.WriteFile(path, []byte("FROM "+host+"/none:1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := rewrite(t.Context(), path); err == nil {
		t.Error("a base that there is not was pinned")
	}
}
