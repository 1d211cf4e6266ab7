package vfs

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// DeviceOpener opens a device node.
type DeviceOpener func(c Caller, fd *FileDescription, ino Inode) (File, abi.Errno)

// RegisterDevice ties count minors of a character (S_IFCHR) or block (S_IFBLK)
// device to its driver. For init functions and boot.
func RegisterDevice(kind uint32, major, firstMinor, count uint32, open DeviceOpener) {}

// FifoOpener opens a fifo; the pipe is kept in the inode's Special. It may
// block by way of c (Blocker). pipefs sets it.
var FifoOpener DeviceOpener = func(Caller, *FileDescription, Inode) (File, abi.Errno) { return nil, unix.ENXIO }

// MakeDev encodes a device number as st_rdev has it.
func MakeDev(major, minor uint32) uint64 { return unix.Mkdev(major, minor) }
