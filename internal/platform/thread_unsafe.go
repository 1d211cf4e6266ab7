package platform

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// bind sets the typed views of the slot's memory.
func (t *Thread) bind() {
	t.slot = (*slot)(unsafe.Pointer(&t.mem[0]))
	t.data = t.mem[slotData : slotData+dataSize]
	t.socks = t.mem[slotData+socksAt : slotData+noteAt]
	t.note = t.mem[slotData+noteAt:]
}

// sockWord is the word at an offset in struct socks.
func (t *Thread) sockWord(at int) *uint32 { return (*uint32)(unsafe.Pointer(&t.socks[at])) }

// fdWord is the i-th word behind the states of descriptors: what the stub did, their
// flags, at_end.
func (t *Thread) fdWord(i uint32) *uint32 {
	return (*uint32)(unsafe.Pointer(&t.data[fdsAt+fdsMax+4*i]))
}

// inData tells whether b lies in the slot's output area, and where.
func (t *Thread) inData(b []byte) (uint32, bool) {
	if len(b) == 0 {
		return 0, false
	}
	base := uintptr(unsafe.Pointer(&t.data[0]))
	at := uintptr(unsafe.Pointer(&b[0]))
	if at < base || at+uintptr(len(b)) > base+uintptr(len(t.data)) {
		return 0, false
	}
	return uint32(at - base), true
}

func readVM(pid int, addr uint64, dst []byte) (int, unix.Errno) {
	l := unix.Iovec{Base: &dst[0], Len: uint64(len(dst))}
	r := unix.RemoteIovec{Base: uintptr(addr), Len: len(dst)}
	n, _, e := unix.RawSyscall6(unix.SYS_PROCESS_VM_READV, uintptr(pid), uintptr(unsafe.Pointer(&l)), 1, uintptr(unsafe.Pointer(&r)), 1, 0)
	return int(n), e
}

func writeVM(pid int, addr uint64, src []byte) (int, unix.Errno) {
	l := unix.Iovec{Base: &src[0], Len: uint64(len(src))}
	r := unix.RemoteIovec{Base: uintptr(addr), Len: len(src)}
	n, _, e := unix.RawSyscall6(unix.SYS_PROCESS_VM_WRITEV, uintptr(pid), uintptr(unsafe.Pointer(&l)), 1, uintptr(unsafe.Pointer(&r)), 1, 0)
	return int(n), e
}

// pinThread sets a thread's CPUs; 0 is none.
func pinThread(tid int, mask uint64) {
	if tid == 0 {
		return
	}
	unix.RawSyscall(unix.SYS_SCHED_SETAFFINITY, uintptr(tid), 8, uintptr(unsafe.Pointer(&mask)))
}
