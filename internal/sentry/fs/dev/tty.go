package dev

import (
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/job"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Device numbers of the terminals (TTYAUX_MAJOR); ptmx is devpts's.
const (
	ttyMajor     = 5
	ttyMinor     = 0
	consoleMinor = 1
	ptmxMinor    = 2
)

// reopener is a terminal that can be opened once more: tty.TTY, hostfile's.
type reopener interface {
	job.Terminal
	OpenAgain(c vfs.Caller, flags uint32) (vfs.File, abi.Errno)
}

var console atomic.Pointer[reopener]

// SetConsole says which terminal /dev/console is; without one it has none
// (ENXIO). For boot.
func SetConsole(t interface {
	job.Terminal
	OpenAgain(c vfs.Caller, flags uint32) (vfs.File, abi.Errno)
}) {
	r := reopener(t)
	console.Store(&r)
}

// openTTY is /dev/tty: the controlling terminal of whoever opens it.
func openTTY(c vfs.Caller, fd *vfs.FileDescription, _ vfs.Inode) (vfs.File, abi.Errno) {
	p, ok := c.(job.Process)
	if !ok {
		return nil, unix.ENXIO
	}
	t, ok := p.ControllingTerminal().(reopener)
	if !ok {
		return nil, unix.ENXIO
	}
	return t.OpenAgain(c, fd.Flags())
}

func openConsole(c vfs.Caller, fd *vfs.FileDescription, _ vfs.Inode) (vfs.File, abi.Errno) {
	t := console.Load()
	if t == nil {
		return nil, unix.ENXIO
	}
	return (*t).OpenAgain(c, fd.Flags())
}

func init() {
	vfs.RegisterDevice(unix.S_IFCHR, ttyMajor, ttyMinor, 1, openTTY)
	vfs.RegisterDevice(unix.S_IFCHR, ttyMajor, consoleMinor, 1, openConsole)
}
