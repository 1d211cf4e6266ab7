package jail

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A machine restored from a template maps the template's memory privately, and
// a private mapping needs no more of its file than that it can be read. QEMU
// (7.2) opens it for reading and writing all the same, and a QEMU that could
// write to it could change every other clone. So the file is descriptor 0, open
// for reading, and a filter answers in the kernel's place:
//
//	openat(…, O_RDWR), flags of exactly that   0, the descriptor
//	fallocate(0, …)                            0: there is nothing to punch; the
//	                                           madvise(2) that follows gives the page back
//
// SECCOMP_RET_ERRNO with the error 0 is a call's success with the result 0
// (seccomp(2)). All else that QEMU opens to write to has O_CLOEXEC too, and
// goes on to the kernel; where a version opens it otherwise it finds no file of
// the name, says so, and the memory is copied.

// Offsets of struct seccomp_data.
const (
	dataNr   = 0
	dataArch = 4
	dataArgs = 16 // u64 each; the low half is first
)

func memoryFilter() []unix.SockFilter {
	const load, equal, ret = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, unix.BPF_RET | unix.BPF_K
	return []unix.SockFilter{
		{Code: load, K: dataArch},
		{Code: equal, Jf: 7, K: unix.AUDIT_ARCH_X86_64},
		{Code: load, K: dataNr},
		{Code: equal, Jf: 2, K: unix.SYS_OPENAT},
		{Code: load, K: dataArgs + 2*8},
		{Code: equal, Jt: 4, Jf: 3, K: unix.O_RDWR},
		{Code: equal, Jf: 2, K: unix.SYS_FALLOCATE},
		{Code: load, K: dataArgs},
		{Code: equal, Jt: 1, K: 0},
		{Code: ret, K: unix.SECCOMP_RET_ALLOW},
		{Code: ret, K: unix.SECCOMP_RET_ERRNO},
	}
}

func installMemoryFilter() error {
	f := memoryFilter()
	prog := unix.SockFprog{Len: uint16(len(f)), Filter: &f[0]}
	err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0)
	runtime.KeepAlive(f)
	if err != nil {
		return fmt.Errorf("the filter for a template's memory: %w", err)
	}
	return nil
}
