package kernel

import (
	"bulkhead.dev/bulkhead/internal/confine"
	"bytes"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/mm"
)

// procDir is the host's /proc, opened before the Sentry shuts itself in; -1
// without one.
var procDir = sync.OnceValue(func() int {
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
})

// residence gives how much of an address space is in memory, and how much of
// that is shared, from the host's statm. Where it cannot be read, all of it.
func residence(m *mm.MemoryManager, total uint64) (rss, shared uint64) {
	p := m.Host()
	if p == nil || procDir() < 0 {
		return total, 0
	}
	fd, err := unix.Openat(procDir(), strconv.Itoa(p.PID())+"/statm", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return total, 0
	}
	defer unix.Close(fd)
	var buf [128]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return total, 0
	}
	f := bytes.Fields(buf[:n])
	if len(f) < 3 {
		return total, 0
	}
	pages, err := strconv.ParseUint(string(f[1]), 10, 64)
	if err != nil {
		return total, 0
	}
	return min(pages*mm.PageSize, total), 0
}

// HostPaths gives what a confined Sentry still opens by path: files of its
// guests' host processes.
func HostPaths() []confine.Path {
	if procDir() < 0 {
		return nil
	}
	return []confine.Path{{FD: procDir(), Rights: confine.ReadFile | confine.ReadDir}}
}
