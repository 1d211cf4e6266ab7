package audit

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// getFilter reads the i-th filter of a stopped thread, the newest first.
func getFilter(tid, i int) (program, unix.Errno) {
	n, _, e := unix.RawSyscall6(unix.SYS_PTRACE, ptraceSeccompGetFilter, uintptr(tid), uintptr(i), 0, 0, 0)
	if e != 0 {
		return nil, e
	}
	raw := make([]byte, 8*n)
	if n == 0 {
		return program{}, 0
	}
	_, _, e = unix.RawSyscall6(unix.SYS_PTRACE, ptraceSeccompGetFilter, uintptr(tid), uintptr(i), uintptr(unsafe.Pointer(unsafe.SliceData(raw))), 0, 0)
	return parseFilter(raw), e
}

// syscallInfo reads struct ptrace_syscall_info of a thread stopped at a call.
func syscallInfo(tid int, raw []byte) unix.Errno {
	_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), uintptr(len(raw)), uintptr(unsafe.Pointer(unsafe.SliceData(raw))), 0, 0)
	return e
}
