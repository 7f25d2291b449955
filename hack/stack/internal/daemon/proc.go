package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// identity is what tells a process from a later one with the same id. The program is no part of it: a script that
// starts a JVM becomes that JVM.
type identity struct {
	Boot  string `json:"boot"`  // the kernel's boot id
	Start uint64 `json:"start"` // clock ticks from boot to the process's start
}

var errGone = errors.New("no such process")

// identify reads a process's identity; errGone when it has ended (a zombie has).
func identify(pid int) (identity, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return identity{}, errGone
	}
	state, start, err := parseStat(stat)
	if err != nil {
		return identity{}, fmt.Errorf("reading %s/stat: %w", dir, err)
	}
	if state == 'Z' || state == 'X' {
		return identity{}, errGone
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return identity{}, fmt.Errorf("reading the boot id: %w", err)
	}
	return identity{Boot: strings.TrimSpace(string(boot)), Start: start}, nil
}

// ending says whether a process is gone but for threads that outlive its first one.
func ending(pid int, id identity) bool {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	stat, err := os.ReadFile(filepath.Join(dir, "stat"))
	if err != nil {
		return false
	}
	state, start, err := parseStat(stat)
	if err != nil || state != 'Z' || start != id.Start {
		return false
	}
	threads, err := os.ReadDir(filepath.Join(dir, "task"))
	return err == nil && len(threads) > 1
}

// parseStat finds the state (field 3) and the start time (field 22) of /proc/PID/stat. The program's name, field 2, may
// hold spaces and brackets itself.
func parseStat(stat []byte) (state byte, start uint64, err error) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, 0, errors.New("no program name")
	}
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 20 {
		return 0, 0, fmt.Errorf("%d fields after the program name, at least 20 are wanted", len(fields))
	}
	start, err = strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("reading the start time: %w", err)
	}
	return fields[0][0], start, nil
}
