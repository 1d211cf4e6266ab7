package monitor

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dropCapabilities leaves the monitor what it still needs: to end a hypervisor
// of another uid, and to join network devices when the container starts.
func (m *monitor) dropCapabilities() error {
	keep := uint32(1 << unix.CAP_KILL)
	if len(m.nics) > 0 {
		keep |= 1 << unix.CAP_NET_ADMIN
	}
	if !m.cfg.Container.Privileges.UserNamespace && !m.cfg.Container.Privileges.HostRoot {
		keep = 0 // an ordinary user has none
	}
	return keepCapabilities(keep)
}

// keepCapabilities drops all but a set, in every thread (capset(2)).
func keepCapabilities(keep uint32) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{{Effective: keep, Permitted: keep}}
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&hdr)), uintptr(unsafe.Pointer(&data)), 0)
	if e != 0 {
		return fmt.Errorf("dropping capabilities: %w", e)
	}
	return nil
}
