package daemon

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Port is a TCP port that a part is about to take.
type Port struct {
	Part string // for the message
	Host string
	Port int
}

// CheckPorts fails if one of the ports is taken, and names who has it. Nobody has a port of an address that is not
// there.
func CheckPorts(ports []Port) error {
	var errs []error
	for _, p := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(p.Host, strconv.Itoa(p.Port)))
		if err == nil {
			l.Close()
			continue
		}
		if errors.Is(err, syscall.EADDRNOTAVAIL) {
			continue
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			errs = append(errs, fmt.Errorf("trying port %d for %s: %w", p.Port, p.Part, err))
			continue
		}
		errs = append(errs, fmt.Errorf("port %d, which %s needs, is taken by %s: end that, or choose other ports with --port-base",
			p.Port, p.Part, holder(p.Port)))
	}
	return errors.Join(errs...)
}

// tables are the kernel's lists of TCP sockets.
var tables = []string{"/proc/net/tcp", "/proc/net/tcp6"}

// established is the state of a connection in the tables.
const established = "01"

// Connected says whether a process that listens on the port has a connection.
func Connected(port int) bool {
	for _, table := range tables {
		if b, err := os.ReadFile(table); err == nil && len(inodesOf(string(b), port, established)) > 0 {
			return true
		}
	}
	return false
}

// holder names the processes that have a socket on a local port.
func holder(port int) string {
	inodes := map[string]bool{}
	for _, table := range tables {
		if b, err := os.ReadFile(table); err == nil {
			for _, inode := range inodesOf(string(b), port, "") {
				inodes["socket:["+inode+"]"] = true
			}
		}
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil || len(inodes) == 0 {
		return "an unknown process"
	}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && inodes[target] {
			return describe(strings.Split(link, "/")[2])
		}
	}
	return "a process of another user or container"
}

// inodesOf lists the sockets of a table in the form of /proc/net/tcp that use a local port, and are in a state if one
// is given. Ports are hexadecimal there.
func inodesOf(table string, port int, state string) []string {
	var inodes []string
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 10 || state != "" && fields[3] != state {
			continue
		}
		_, hexPort, _ := strings.Cut(fields[1], ":")
		b, err := hex.DecodeString(hexPort)
		if err == nil && len(b) == 2 && int(b[0])<<8|int(b[1]) == port {
			inodes = append(inodes, fields[9])
		}
	}
	return inodes
}

// describe names a process by its id and the start of its command line.
func describe(pid string) string {
	b, err := os.ReadFile(filepath.Join("/proc", pid, "cmdline"))
	if err != nil || len(b) == 0 {
		return "process " + pid
	}
	line := strings.Join(strings.Split(strings.TrimRight(string(b), "\x00"), "\x00"), " ")
	if len(line) > 100 {
		line = line[:100] + "…"
	}
	return fmt.Sprintf("process %s (%s)", pid, line)
}
