package cluster

import (
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// bootID is this boot of this host; empty if unknown.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// isLocal reports whether the file is on a file system that no other host mounts, where a lock that could be taken
// proves that its last holder is gone. What is not known does not count as local.
func isLocal(f *os.File) bool {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &fs); err != nil {
		return false
	}
	const zfs = 0x2fc12fc1
	switch int64(fs.Type) { //nolint:unconvert // Its size differs between architectures.
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, unix.TMPFS_MAGIC,
		unix.RAMFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, zfs:
		return true
	}
	return false
}

// Now is the time of CLOCK_BOOTTIME: it goes on while the host sleeps, and nobody sets it. Where there is none it is a
// monotonic time since the start of the process.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return monotonic()
	}
	return time.Duration(ts.Nano())
}
