//go:build !linux

package disk

import "errors"

var errNoMount = errors.New("small file systems are for Linux only")

func mount(_, _ string) error { return errNoMount }

func unmount(string) error { return errNoMount }
