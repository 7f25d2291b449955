//go:build unix

package cluster

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
)

// ErrStoreInUse means another process holds the store directory.
var ErrStoreInUse = errors.New("store directory is in use")

// lockName is the lock file in the store directory. It is never renamed, replaced or removed.
const lockName = "worker.lock"

// lockSize is the size of the file at all times, so that writing it again needs no room on a full disk.
const lockSize = 512

// An id of ours is shorter, and no store is opened that often: a file that says more was not written by a worker. Such
// an id would also not fit into the file again.
const (
	maxStoreID = 64
	maxStart   = 1 << 60
)

// storeLock is the lock on a store directory, held for the life of the process.
type storeLock struct {
	file *os.File
	// proof is nil when the file system cannot prove that an earlier holder is gone.
	proof *fold.Proof
}

// holder is what the lock file says.
type holder struct {
	Store string `json:"store"`
	Start int64  `json:"start"`
	PID   int    `json:"pid"`
	Host  string `json:"host"`
}

// lockStore locks dir, making it if need be. An empty dir locks nothing.
func lockStore(dir string) (*storeLock, error) {
	if dir == "" {
		return &storeLock{}, nil
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("making the store directory: %w", err)
	}
	path := filepath.Join(dir, lockName)
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o640)
	if err != nil {
		return nil, fmt.Errorf("opening the store directory's lock: %w", err)
	}
	l := &storeLock{file: file}
	if err := l.take(dir, path); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return l, nil
}

func (l *storeLock) take(dir, path string) error {
	err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	h, readErr := l.read()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("%w: %s is held by process %d on host %s; stop it, or give this worker a storePathRootDir of its own",
			ErrStoreInUse, dir, h.PID, h.Host)
	}
	if err != nil {
		return fmt.Errorf("locking %s: %w", path, err)
	}
	if readErr != nil {
		return fmt.Errorf("reading %s: %w", path, readErr)
	}
	info, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("reading %s: %w", path, err)
	}
	if now, err := os.Stat(path); err != nil || !os.SameFile(info, now) {
		return fmt.Errorf("%w: %s was replaced while it was being locked; retry, and let nothing else write there", ErrStoreInUse, path)
	}
	if h.Store == "" {
		h = holder{Store: randomID()}
	}
	h.Start++
	h.PID = os.Getpid()
	h.Host, _ = os.Hostname() // for people only
	if err := l.write(h); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	boot := bootID()
	if ok && boot != "" && isLocal(l.file) {
		l.proof = &fold.Proof{
			Store:  h.Store,
			Boot:   boot,
			Device: uint64(stat.Dev), //nolint:unconvert // Dev is int32 on some systems.
			Inode:  stat.Ino,
			Start:  h.Start,
		}
	}
	return nil
}

// read returns the zero holder for a file that says nothing sensible: a new store id proves nothing, which is safe.
func (l *storeLock) read() (holder, error) {
	data := make([]byte, lockSize)
	n, err := l.file.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return holder{}, err
	}
	var h holder
	if json.Unmarshal(bytes.TrimRight(data[:n], " \n\x00"), &h) != nil || len(h.Store) > maxStoreID || h.Start < 0 || h.Start > maxStart {
		return holder{}, nil
	}
	return h, nil
}

func (l *storeLock) write(h holder) error {
	data, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if len(data) >= lockSize {
		h.Host = ""
		if data, err = json.Marshal(h); err != nil {
			return err
		}
	}
	padded := append(data, bytes.Repeat([]byte{' '}, lockSize-1-len(data))...)
	_, err = l.file.WriteAt(append(padded, '\n'), 0)
	return err
}

// close lets another process have the directory.
func (l *storeLock) close() error {
	if l == nil || l.file == nil {
		return nil
	}
	if err := l.file.Close(); err != nil {
		return fmt.Errorf("closing the store directory's lock: %w", err)
	}
	return nil
}

// randomID is 128 random bits.
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
