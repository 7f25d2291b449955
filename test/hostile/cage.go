package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// mostMemory is what each worker may have.
const mostMemory = 512 << 20

// softLimit tells Go's runtime of it as the operator does in pods: without it, memory that is free to be used again is
// not missed before it has doubled.
func softLimit() error { return os.Setenv("GOMEMLIMIT", strconv.Itoa(mostMemory/10*9)) }

// cage is where control groups for workers are made, each with its own limit; empty where none can be.
type cage struct {
	root, limit string
	made        map[int]string
}

// newCage finds out how memory can be limited: by control groups of either version, for which one has to be root. Else
// the peak of a worker's resident memory, which is looked at in any case, has to do.
func newCage(name string) (c cage, how string) {
	for _, try := range []cage{{"/sys/fs/cgroup", "memory.max", nil}, {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", nil}} {
		dir := filepath.Join(try.root, name)
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		_, err := os.Stat(filepath.Join(dir, try.limit))
		_ = os.Remove(dir)
		if err == nil {
			try.made = map[int]string{}
			return try, fmt.Sprintf("%d MiB by its control group (%s)", mostMemory>>20, try.limit)
		}
	}
	return cage{}, fmt.Sprintf("%d MiB by the peak of its resident memory", mostMemory>>20)
}

// enter puts a process into a group of its own.
func (c cage) enter(pid int) error {
	if c.root == "" {
		return nil
	}
	dir := filepath.Join(c.root, fmt.Sprintf("hostile-%d", pid))
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("making a control group: %w", err)
	}
	c.made[pid] = dir
	err := os.WriteFile(filepath.Join(dir, c.limit), []byte(strconv.Itoa(mostMemory)), 0o644)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
	}
	if err != nil {
		return fmt.Errorf("limiting a worker's memory: %w", err)
	}
	return nil
}

// remove takes the groups away once their processes have ended.
func (c cage) remove() {
	for _, dir := range c.made {
		_ = os.Remove(dir)
	}
}
