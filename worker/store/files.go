package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rocketmq-connect/operator/worker/store/fold"
)

// The local files. Each has a sibling .bak with the contents before the last write.
const (
	connectorFile = "connectorConfig.json"
	taskFile      = "taskConfig.json"
	positionFile  = "position.json"
	offsetFile    = "offset.json"
)

// document is the contents of a local file.
type document struct {
	V int `json:"v"`
	// Cluster and Topic say whose values these are: they are restored nowhere else.
	Cluster string `json:"cluster"`
	Topic   string `json:"topic"`
	// Read is how far the topic was read: a topic that ends before has lost records.
	Read       int64                      `json:"read"`
	Connectors map[string]json.RawMessage `json:"connectors"`
}

// directory reads and writes documents. Its methods are not safe for concurrent use on one file.
type directory struct {
	path string
	// damaged files must not become backups.
	damaged map[string]bool
}

// load reads a file, or its backup when the file is missing or damaged. It gives nil without an error when there is
// neither, and an error beside the backup's contents when the file was damaged.
func (d *directory) load(name string) (*document, error) {
	doc, err := readDocument(filepath.Join(d.path, name))
	if err == nil {
		return doc, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		d.damaged[name] = true
	} else {
		err = nil
	}
	backup, backupErr := readDocument(filepath.Join(d.path, name+".bak"))
	if errors.Is(backupErr, fs.ErrNotExist) {
		backupErr = nil
	}
	return backup, errors.Join(err, backupErr)
}

func readDocument(path string) (*document, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the path is the configured directory and a constant
	if err != nil {
		return nil, fmt.Errorf("reading a local file: %w", err)
	}
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading %s: it is damaged: %w", path, err)
	}
	if doc.V != fold.Version {
		return nil, fmt.Errorf("reading %s: %w: %d", path, fold.ErrVersion, doc.V)
	}
	return &doc, nil
}

// save replaces a file so that after a crash at any moment the old or the new contents are there, in it or in its backup.
func (d *directory) save(name string, doc *document) error {
	data, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", name, err)
	}
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("making the store directory: %w", err)
	}
	path := filepath.Join(d.path, name)
	if err := writeSynced(path+".tmp", append(data, '\n')); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), removeIfThere(path+".tmp"))
	}
	if !d.damaged[name] {
		if err := os.Rename(path, path+".bak"); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keeping a backup: %w", err)
		}
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("replacing a local file: %w", err)
	}
	delete(d.damaged, name)
	return syncDirectory(d.path)
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600) //nolint:gosec // see readDocument
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// syncDirectory makes the renames durable, where the file system knows that.
func syncDirectory(path string) error {
	d, err := os.Open(path) //nolint:gosec // see readDocument
	if err != nil {
		return fmt.Errorf("opening the store directory: %w", err)
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	if err = errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("syncing the store directory: %w", err)
	}
	return nil
}
