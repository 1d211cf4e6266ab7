package kernel

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// HostCPU gives the CPU and the NUMA node that the caller runs on.
func HostCPU() (cpu, node uint32) {
	unix.RawSyscall(unix.SYS_GETCPU, uintptr(unsafe.Pointer(&cpu)), uintptr(unsafe.Pointer(&node)), 0)
	return cpu, node
}
