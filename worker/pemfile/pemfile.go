// Package pemfile reads files of certificates and keys that somebody names in a configuration.
package pemfile

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"syscall"
)

// most is more than any bundle of authorities has, in bytes.
const most = 1 << 20

// Read returns what a regular file of at most 1 MiB holds. It fails for one that ends inside a PEM block: it is being
// written. It never waits: what is there may be a pipe, or a device without an end.
func Read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) //nolint:gosec // users name the file
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > most:
		return nil, fmt.Errorf("%s is longer than %d bytes", path, most)
	case bytes.Count(text, []byte("-----BEGIN ")) != bytes.Count(text, []byte("-----END ")):
		return nil, fmt.Errorf("%s ends inside a block of PEM: it may be in the middle of being written", path)
	}
	return text, nil
}
