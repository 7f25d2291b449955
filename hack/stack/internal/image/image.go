// Package image writes container images of one static program each, on an empty base, without a container engine.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Format changes when Write writes the same Spec in another way.
const Format = "1"

// User is the user and group that the programs run as.
const User = "65532:65532"

// epoch is the time of all files, so that the same program gives the same image.
var epoch = time.Unix(0, 0).UTC()

// Spec is an image.
type Spec struct {
	Name   string // in full, registry and tag included
	Binary string // the path of a static Linux program
	CAs    string // the path of a CA bundle; "" for none
}

// Write writes the image as an OCI layout in a tar file, as a whole or not at all.
func Write(path string, s Spec) error {
	img, err := build(s)
	if err != nil {
		return fmt.Errorf("building image %s: %w", s.Name, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the image's folder: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(path), ".image-")
	if err != nil {
		return fmt.Errorf("making a folder for image %s: %w", s.Name, err)
	}
	defer os.RemoveAll(dir)
	ociDir := filepath.Join(dir, "oci")
	index, err := layout.Write(ociDir, empty.Index)
	if err != nil {
		return fmt.Errorf("writing image %s: %w", s.Name, err)
	}
	// containerd takes the name from the first, Docker from the second.
	names := map[string]string{"io.containerd.image.name": s.Name, "org.opencontainers.image.ref.name": s.Name}
	if err := index.AppendImage(img, layout.WithAnnotations(names)); err != nil {
		return fmt.Errorf("writing image %s: %w", s.Name, err)
	}
	packed := filepath.Join(dir, "image.tar")
	if err := pack(packed, ociDir); err != nil {
		return fmt.Errorf("packing image %s: %w", s.Name, err)
	}
	return os.Rename(packed, path)
}

func build(s Spec) (v1.Image, error) {
	program := filepath.Base(s.Binary)
	layers, err := layers(s, program)
	if err != nil {
		return nil, err
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if img, err = mutate.AppendLayers(img, layers...); err != nil {
		return nil, err
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Created = "linux", runtime.GOARCH, v1.Time{Time: epoch}
	config.Config = v1.Config{User: User, Entrypoint: []string{"/" + program}, WorkingDir: "/", Env: []string{"PATH=/"}}
	return mutate.ConfigFile(img, config)
}

// layers are the base's files, which seldom change, then the program.
func layers(s Spec, program string) ([]v1.Layer, error) {
	base := []file{
		{name: "etc/", mode: 0o755},
		{name: "etc/passwd", mode: 0o644, content: []byte("root:x:0:0:root:/:/\nnonroot:x:65532:65532:nonroot:/:/\n")},
		{name: "etc/group", mode: 0o644, content: []byte("root:x:0:\nnonroot:x:65532:\n")},
		{name: "tmp/", mode: 0o1777},
	}
	if s.CAs != "" {
		bundle, err := os.ReadFile(s.CAs)
		if err != nil {
			return nil, fmt.Errorf("reading the CA bundle (Debian package ca-certificates): %w", err)
		}
		base = append(base, file{name: "etc/ssl/", mode: 0o755}, file{name: "etc/ssl/certs/", mode: 0o755},
			file{name: "etc/ssl/certs/ca-certificates.crt", mode: 0o644, content: bundle})
	}
	binary, err := os.ReadFile(s.Binary)
	if err != nil {
		return nil, err
	}
	var made []v1.Layer
	for _, files := range [][]file{base, {{name: program, mode: 0o555, content: binary}}} {
		content, err := archive(files)
		if err != nil {
			return nil, err
		}
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil },
			tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(1))
		if err != nil {
			return nil, err
		}
		made = append(made, layer)
	}
	return made, nil
}

type file struct {
	name    string // a folder's ends with a slash
	mode    int64
	content []byte
}

func archive(files []file) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		h := &tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), ModTime: epoch, Typeflag: tar.TypeReg, Format: tar.FormatPAX}
		if strings.HasSuffix(f.name, "/") {
			h.Typeflag = tar.TypeDir
		}
		if err := w.WriteHeader(h); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

// pack writes a folder's files into a tar file.
func pack(path, dir string) error {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	w := tar.NewWriter(out)
	err = w.AddFS(os.DirFS(dir))
	return errors.Join(err, w.Close(), out.Close())
}

// Digest is the SHA-256 of a file.
func Digest(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading a program: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading a program: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
