//go:build linux

package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// pinListeners puts the processes of this machine that listen on the ports of the addresses on the core that is not
// measured, and returns how many there are and what puts them back.
func pinListeners(addrs []string) (pinned int, restore func() error, err error) {
	pids, err := listeners(addrs)
	if err != nil {
		return 0, nil, err
	}
	before := map[int]*unix.CPUSet{}
	restore = func() error {
		var errs []error
		for pid, set := range before {
			errs = append(errs, pinProcess(pid, set))
		}
		return errors.Join(errs...)
	}
	for _, pid := range pids {
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(pid, &set); err != nil {
			return 0, nil, errors.Join(fmt.Errorf("reading the cores of process %d: %w", pid, err), restore())
		}
		before[pid] = &set
		if err := pinProcess(pid, core(otherCore)); err != nil {
			return 0, nil, errors.Join(err, restore())
		}
	}
	return len(pids), restore, nil
}

// listeners returns the processes that listen on the ports of the addresses, by the kernel's tables.
func listeners(addrs []string) ([]int, error) {
	sockets := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		if err != nil {
			return nil, fmt.Errorf("reading who listens: %w", err)
		}
		for _, inode := range listening(string(text), ports(addrs)) {
			sockets["socket:["+inode+"]"] = true
		}
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return nil, fmt.Errorf("listing open files: %w", err)
	}
	var pids []int
	for _, link := range links {
		if to, err := os.Readlink(link); err != nil || !sockets[to] { // it may have ended meanwhile, or be another user's
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil && !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// ports are those of the addresses that are this machine's loopback.
func ports(addrs []string) []int {
	var out []int
	for _, addr := range addrs {
		host, port, err := net.SplitHostPort(addr)
		if ip := net.ParseIP(host); err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			continue
		}
		if n, err := strconv.Atoi(port); err == nil {
			out = append(out, n)
		}
	}
	return out
}

// stateListen is TCP_LISTEN in the kernel's table.
const stateListen = "0A"

// listening returns the inodes of the sockets in /proc/net/tcp that listen on one of the ports.
func listening(table string, ports []int) []string {
	var out []string
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 10 || fields[3] != stateListen {
			continue
		}
		port, err := strconv.ParseInt(fields[1][strings.LastIndexByte(fields[1], ':')+1:], 16, 32)
		if err == nil && slices.Contains(ports, int(port)) {
			out = append(out, fields[9])
		}
	}
	return out
}
