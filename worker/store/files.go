package store

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

// The local files. Each has a sibling .bak with the contents before the last write, or, where these may hold secrets,
// the same contents.
const (
	connectorFile = "connectorConfig.json"
	taskFile      = "taskConfig.json"
	identityFile  = "identity.json"
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
	// foreign are files, and backups, that this worker did not write, cannot read, or has no use for: those of the Java
	// runtime have the same names. They are kept under another name when they are replaced.
	foreign map[string]bool
}

const (
	backupSuffix    = ".bak"
	temporarySuffix = ".tmp"
)

// load reads a file, or its backup when the file is missing or damaged. It gives nil without an error when there is
// neither, and an error beside the backup's contents when the file was damaged.
func (d *directory) load(name string) (*document, error) {
	doc, err := readDocument(filepath.Join(d.path, name))
	if err == nil {
		return doc, nil
	}
	backup, backupErr := readDocument(filepath.Join(d.path, name+backupSuffix))
	return backup, errors.Join(d.judge(name, err), d.judge(name+backupSuffix, backupErr))
}

// judge notes a file that cannot be read; one that is not there is no error.
func (d *directory) judge(name string, err error) error {
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	d.foreign[name] = true
	return err
}

// disown has a file and its backup kept when they are replaced.
func (d *directory) disown(name string) { d.foreign[name], d.foreign[name+backupSuffix] = true, true }

// keep gives a file of others another name, under which nothing replaces it.
func (d *directory) keep(name string) error {
	if !d.foreign[name] {
		return nil
	}
	path := filepath.Join(d.path, name)
	data, err := os.ReadFile(path) //nolint:gosec // see readDocument
	if err == nil {
		err = os.Rename(path, fmt.Sprintf("%s.kept-%.4x", path, sha256.Sum256(data)))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("keeping a file that another program wrote: %w", err)
	}
	delete(d.foreign, name)
	return nil
}

func readDocument(path string) (*document, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the path is the configured directory and a constant
	if err != nil {
		return nil, fmt.Errorf("reading a local file: %w", err)
	}
	var doc document
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading %s: it is damaged, or another program wrote it: %w", path, err)
	}
	if doc.V != storefold.Version {
		return nil, fmt.Errorf("reading %s: %w: %d", path, storefold.ErrVersion, doc.V)
	}
	return &doc, nil
}

// save replaces a file so that after a crash at any moment the old or the new contents are there, in it or in its
// backup. With forget the old contents are in neither afterwards: the backup gets the new ones. After an error they may
// be.
func (d *directory) save(name string, doc *document, forget bool) error {
	data, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", name, err)
	}
	data = append(data, '\n')
	if err := os.MkdirAll(d.path, 0o700); err != nil {
		return fmt.Errorf("making the store directory: %w", err)
	}
	path := filepath.Join(d.path, name)
	if err = d.write(path, data); err != nil && forget && d.dropBackup(name) {
		err = d.write(path, data)
	}
	if err != nil {
		return err
	}
	if err := errors.Join(d.keep(name), d.keep(name+backupSuffix)); err != nil {
		return err
	}
	if !forget {
		if err := os.Rename(path, path+backupSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("keeping a backup: %w", err)
		}
	}
	if err := os.Rename(path+temporarySuffix, path); err != nil {
		return fmt.Errorf("replacing a local file: %w", err)
	}
	if forget {
		if err := d.renewBackup(path, data); err != nil {
			return err
		}
	}
	return syncDirectory(d.path)
}

// write writes the contents that are to replace a file beside it.
func (d *directory) write(path string, data []byte) error {
	if err := writeSynced(path+temporarySuffix, data); err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", path, err), removeIfThere(path+temporarySuffix))
	}
	return nil
}

// dropBackup removes a backup whose file is whole: it is to be forgotten, and its space may be what a full disk lacks.
func (d *directory) dropBackup(name string) bool {
	path := filepath.Join(d.path, name)
	if _, err := readDocument(path); err != nil || d.foreign[name+backupSuffix] {
		return false
	}
	return os.Remove(path+backupSuffix) == nil
}

// renewBackup gives a file that has just been replaced a backup of the same contents. Where there is no room for it,
// there is none: the old one is not kept.
func (d *directory) renewBackup(path string, data []byte) error {
	if err := d.write(path, data); err != nil {
		return errors.Join(fmt.Errorf("renewing a backup: %w", err), removeIfThere(path+backupSuffix))
	}
	if err := os.Rename(path+temporarySuffix, path+backupSuffix); err != nil {
		return fmt.Errorf("renewing a backup: %w", err)
	}
	return nil
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
