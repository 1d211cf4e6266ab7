package confine

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// NoCapabilities gives up every capability.
func NoCapabilities() error { return KeepCapabilities(0) }

// KeepCapabilities gives up every capability but those of keep that the process
// has. With nothing inheritable the ambient set is empty too (capabilities(7)),
// and no_new_privs leaves the bounding set without a meaning: no execve adds
// anything. Dropping that one by one would stop all threads forty times.
func KeepCapabilities(keep uint64) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if keep != 0 {
		if err := unix.Capget(&hdr, &data[0]); err != nil {
			return fmt.Errorf("reading capabilities: %w", err)
		}
	}
	for i := range data {
		data[i].Permitted &= uint32(keep >> (32 * i))
		data[i].Effective, data[i].Inheritable = data[i].Permitted, 0
	}
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&data)), 0)
	if e != 0 {
		return fmt.Errorf("dropping capabilities: %w", e)
	}
	return nil
}

// landlockCreate makes a ruleset; with nil it gives the version instead.
func landlockCreate(handled *uint64) (int, unix.Errno) {
	if handled == nil {
		v, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1)
		return int(v), e
	}
	fd, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(handled)), 8, 0)
	return int(fd), e
}

func landlockAdd(set, fd int, rights uint64) unix.Errno {
	// struct landlock_path_beneath_attr is packed: 12 bytes.
	rule := [3]uint32{uint32(rights), uint32(rights >> 32), uint32(fd)}
	_, _, e := unix.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(set), 1, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	return e
}
