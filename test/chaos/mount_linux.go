package main

import "golang.org/x/sys/unix"

// mount puts a small file system on a folder.
func mount(dir string) error { return unix.Mount("tmpfs", dir, "tmpfs", 0, storeSize) }

func unmount(dir string) error { return unix.Unmount(dir, unix.MNT_DETACH) }
