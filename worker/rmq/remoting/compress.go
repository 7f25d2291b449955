package remoting

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// The values of the compression bits. Clients older than 5.0 compress with zlib and leave the bits 0.
const (
	compressionUnset = 0
	compressionLZ4   = 1 << 8
	compressionZstd  = 2 << 8
	compressionZlib  = 3 << 8
)

// Plain is the body as it was sent: decompressed if the message says that it is compressed.
func (m *Message) Plain() ([]byte, error) {
	if m.SysFlag&sysCompressed == 0 {
		return m.Body, nil
	}
	plain, err := decompress(m.SysFlag&sysCompression, m.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: offset %d: decompressing: %w", ErrMessage, m.Offset, err)
	}
	return plain, nil
}

func decompress(kind int, body []byte) ([]byte, error) {
	switch kind {
	case compressionUnset, compressionZlib:
		r, err := zlib.NewReader(bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return readBounded(r)
	case compressionLZ4:
		return readBounded(lz4.NewReader(bytes.NewReader(body)))
	case compressionZstd:
		r, err := zstd.NewReader(bytes.NewReader(body), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxFrame))
		if err != nil {
			return nil, err
		}
		defer r.Close()
		return readBounded(r)
	}
	return nil, fmt.Errorf("unknown compression type %d", kind>>8)
}

// readBounded keeps a small message from unfolding into all of the memory.
func readBounded(r io.Reader) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(r, MaxFrame+1))
	if err == nil && len(out) > MaxFrame {
		err = fmt.Errorf("more than %d bytes", MaxFrame)
	}
	return out, err
}
