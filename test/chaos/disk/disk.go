// Package disk makes small file systems, and leaves no room on them. Only root can make them.
package disk

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// Possible says whether this process can make file systems.
func Possible() bool { return os.Geteuid() == 0 }

// Mount makes a folder a file system of that size, as mount(8) writes it: 2m.
func Mount(dir, size string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	if err := mount(dir, size); err != nil {
		return fmt.Errorf("making a small file system: %w", err)
	}
	return nil
}

// Unmount takes the file system away.
func Unmount(dir string) error { return unmount(dir) }

// Fill writes until nothing more fits.
func Fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("filling a disk: %w", err)
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return nil
		} else if err != nil {
			return fmt.Errorf("filling a disk: %w", err)
		}
	}
}
