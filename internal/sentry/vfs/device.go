package vfs

import (
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// DeviceOpener opens a device node.
type DeviceOpener func(c Caller, fd *FileDescription, ino Inode) (File, abi.Errno)

type deviceRange struct {
	kind, major, first, count uint32
	open                      DeviceOpener
}

var devices struct {
	sync.RWMutex
	list []deviceRange
}

// RegisterDevice ties count minors of a character (S_IFCHR) or block (S_IFBLK)
// device to its driver. A later one goes before an earlier.
func RegisterDevice(kind uint32, major, firstMinor, count uint32, open DeviceOpener) {
	devices.Lock()
	devices.list = append(devices.list, deviceRange{kind, major, firstMinor, count, open})
	devices.Unlock()
}

// openDevice finds the driver of a device node; ENXIO without one.
func openDevice(c Caller, fd *FileDescription, ino Inode, kind uint32) (File, abi.Errno) {
	a, e := ino.Attr()
	if e != 0 {
		return nil, e
	}
	if open := findDevice(kind, unix.Major(a.Rdev), unix.Minor(a.Rdev)); open != nil {
		return open(c, fd, ino)
	}
	return nil, unix.ENXIO
}

func findDevice(kind, major, minor uint32) DeviceOpener {
	devices.RLock()
	defer devices.RUnlock()
	for i := len(devices.list) - 1; i >= 0; i-- {
		r := &devices.list[i]
		if r.kind == kind && r.major == major && minor >= r.first && minor-r.first < r.count {
			return r.open
		}
	}
	return nil
}

// FifoOpener opens a fifo; the pipe is kept in the inode's Special. It may
// block by way of c (Blocker). pipefs sets it.
var FifoOpener DeviceOpener = func(Caller, *FileDescription, Inode) (File, abi.Errno) { return nil, unix.ENXIO }

// MakeDev encodes a device number as st_rdev has it.
func MakeDev(major, minor uint32) uint64 { return unix.Mkdev(major, minor) }
