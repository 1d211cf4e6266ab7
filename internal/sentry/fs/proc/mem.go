package proc

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// memNode is /proc/PID/mem.
type memNode struct {
	kernfs.Node
	d *taskDir
}

func makeMem(d *taskDir, n kernfs.Meta) vfs.Inode {
	m := &memNode{d: d}
	m.Meta = n
	return m
}

func (m *memNode) Open(c vfs.Caller, _ *vfs.FileDescription) (vfs.File, abi.Errno) {
	if !mayTrace(c, m.d.t) {
		return nil, unix.EACCES
	}
	return &memFile{d: m.d}, 0
}

// memFile reads and writes a process's memory; offsets are addresses.
type memFile struct {
	vfs.FileDefaults
	d *taskDir
}

func (f *memFile) Seekable() bool { return true }

func (f *memFile) Read(c vfs.Caller, _ *vfs.FileDescription, dst []byte, off int64) (int, abi.Errno) {
	if !f.d.t.Alive() || !mayTrace(c, f.d.t) {
		return 0, 0
	}
	n, e := f.d.t.ReadMemory(uint64(off), dst)
	if n > 0 {
		return n, 0
	}
	if e != 0 {
		e = unix.EIO
	}
	return 0, e
}

func (f *memFile) Write(c vfs.Caller, _ *vfs.FileDescription, src []byte, off int64) (int, int64, abi.Errno) {
	if !f.d.t.Alive() || !mayTrace(c, f.d.t) {
		return 0, 0, unix.EIO
	}
	if off == vfs.AtEnd {
		return 0, 0, unix.EIO
	}
	n, e := f.d.t.WriteMemory(uint64(off), src)
	if n > 0 {
		return n, off + int64(n), 0
	}
	if e != 0 {
		e = unix.EIO
	}
	return 0, off, e
}

func (f *memFile) Seek(vfs.Caller, *vfs.FileDescription, int64, int) (int64, abi.Errno) {
	return 0, unix.EINVAL
}
