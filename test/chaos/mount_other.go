//go:build !linux

package main

import "errors"

var errNoMount = errors.New("small file systems are for Linux only")

func mount(string) error { return errNoMount }

func unmount(string) error { return errNoMount }
