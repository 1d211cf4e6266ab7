package kernel

import (
	"bytes"
	"encoding/binary"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/confine"
	"bulkhead.dev/bulkhead/internal/sentry/mm"
)

// procDir is a /proc of the Sentry's own PID namespace, in which guests' host
// processes have the pids that the Sentry knows; opened before it shuts itself
// in, -1 without one.
var procDir = sync.OnceValue(func() int {
	fd, err := unix.Open("/proc", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err == nil && ownProc(fd) {
		return fd
	}
	if err == nil {
		unix.Close(fd)
	}
	if fd, err = mountProc(); err == nil && ownProc(fd) {
		return fd
	}
	return -1
})

// ownProc tells whether a /proc is of the own PID namespace. A /proc of a
// namespace further out would show other processes under the same numbers.
func ownProc(fd int) bool {
	var buf [16]byte
	n, err := unix.Readlinkat(fd, "self", buf[:])
	return err == nil && string(buf[:n]) == strconv.Itoa(os.Getpid())
}

// mountProc makes a /proc of the own PID namespace that is mounted nowhere.
func mountProc() (int, error) {
	fs, err := unix.Fsopen("proc", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return -1, err
	}
	return unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC|unix.MOUNT_ATTR_RDONLY)
}

// residence gives how much of an address space is in memory, and how much of
// that is of files and shared memory, from the host's statm. Where it cannot be read, all of it.
func residence(m *mm.MemoryManager, total uint64) (rss, files uint64) {
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
	files, err = strconv.ParseUint(string(f[2]), 10, 64)
	if err != nil {
		return total, 0
	}
	rss = min(pages*mm.PageSize, total)
	return rss, min(files*mm.PageSize, rss)
}

// Resident says for each page from addr on whether it is in memory, as far as the
// host's pagemap says; pages of files and of shared memory count as being there.
func (t *Task) Resident(addr uint64, vec []byte) {
	for i := range vec {
		vec[i] = 1
	}
	p := t.mm.Host()
	if p == nil || procDir() < 0 {
		return
	}
	fd, err := unix.Openat(procDir(), strconv.Itoa(p.PID())+"/pagemap", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	const entry, present = 8, 1 << 63 // pagemap.rst
	var buf [512 * entry]byte
	t.mm.Anonymous(addr, addr+uint64(len(vec))*mm.PageSize, func(start, end uint64) {
		for start < end {
			n := int(min((end-start)/mm.PageSize, 512))
			got, err := unix.Pread(fd, buf[:n*entry], int64(start/mm.PageSize*entry))
			if err != nil || got < entry {
				return
			}
			for i := 0; i < got/entry; i++ {
				if binary.LittleEndian.Uint64(buf[i*entry:])&present == 0 {
					vec[(start-addr)/mm.PageSize] = 0
				}
				start += mm.PageSize
			}
		}
	})
}

// HostPaths gives what a confined Sentry still opens by path: files of its
// guests' host processes.
func HostPaths() []confine.Path {
	if procDir() < 0 {
		return nil
	}
	return []confine.Path{{FD: procDir(), Rights: confine.ReadFile | confine.ReadDir}}
}
