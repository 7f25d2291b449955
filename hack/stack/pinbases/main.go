// Command pinbases writes into a Dockerfile which image each FROM means now: NAME:TAG becomes NAME:TAG@sha256:…, as the
// registry has it. It is run when a release is made, and what it wrote is committed with it. Usage: go run -C
// hack/stack ./pinbases FILE
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: pinbases FILE")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := rewrite(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "pinbases:", err)
		stop()
		os.Exit(1)
	}
}

func rewrite(ctx context.Context, path string) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the Dockerfile: %w", err)
	}
	pinned, err := pin(file, func(image string) (string, error) { return digest(ctx, image) })
	if err != nil || bytes.Equal(pinned, file) {
		return err
	}
	if err := os.WriteFile(path, pinned, 0o644); err != nil {
		return fmt.Errorf("writing the Dockerfile: %w", err)
	}
	return nil
}

var (
	from  = regexp.MustCompile(`(?m)^(FROM(?:\s+--\S+)*\s+)(\S+)`)
	stage = regexp.MustCompile(`(?mi)^FROM\s.*\sAS\s+(\S+)\s*$`)
)

// pin gives each image that a FROM names its digest, in the place of one that it had. Stages of the file itself,
// scratch, and names made of arguments stay as they are.
func pin(file []byte, digest func(image string) (string, error)) ([]byte, error) {
	own := map[string]bool{"scratch": true}
	for _, m := range stage.FindAllSubmatch(file, -1) {
		own[string(m[1])] = true
	}
	var failed error
	out := from.ReplaceAllFunc(file, func(line []byte) []byte {
		m := from.FindSubmatch(line)
		image, _, _ := strings.Cut(string(m[2]), "@")
		if failed != nil || own[image] || strings.Contains(image, "$") {
			return line
		}
		sum, err := digest(image)
		if err != nil {
			failed = fmt.Errorf("asking for the digest of %s: %w", image, err)
			return line
		}
		return fmt.Appendf(nil, "%s%s@%s", m[1], image, sum)
	})
	return out, failed
}

// digest asks an image's registry, with the credentials that Docker has for it.
func digest(ctx context.Context, image string) (string, error) {
	ref, err := name.ParseReference(image)
	if err != nil {
		return "", err
	}
	found, err := remote.Head(ref, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return "", err
	}
	return found.Digest.String(), nil
}
