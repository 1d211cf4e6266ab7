//go:build amd64

package probe

import "unsafe"

// call makes a system call as it stands: no bookkeeping of Go's runtime, which
// a child of fork has none of.
//
//go:noescape
func call(nr uintptr, args *[6]uintptr) uintptr

// callFork is call, and a process that it makes ends at once.
//
//go:noescape
func callFork(nr uintptr, args *[6]uintptr) uintptr

// call32 makes a call of i386 by int 0x80.
//
//go:noescape
func call32(nr uintptr, args *[6]uintptr) uintptr

// callStub makes a call by the instruction inside the Sentry's stub.
//
//go:noescape
func callStub(at, nr uintptr, args *[6]uintptr) uintptr

// page is shared by the probe and the child that makes a call.
type page struct {
	state  uintptr // 0 nothing, 1 about to call, 2 it returned
	result uintptr
}

// sharedPage makes a page at an address that mmap(2) gave.
func sharedPage(mem []byte) *page { return (*page)(unsafe.Pointer(unsafe.SliceData(mem))) }

// readByte reads memory that may not be there: the child that does it dies.
//
//go:nosplit
func readByte(at uintptr) byte {
	return *(*byte)(unsafe.Add(unsafe.Pointer(nil), at))
}

// kernelAction is the kernel's struct sigaction (rt_sigaction(2)).
type kernelAction struct {
	handler, flags, restorer, mask uintptr
}

// defaultSignals gives the process the default action for every signal, except
// those that Go's runtime sends itself.
func defaultSignals() {
	var act kernelAction
	for sig := uintptr(1); sig <= 64; sig++ {
		if sig == 23 || sig == 17 { // SIGURG, SIGCHLD
			continue
		}
		call(13, &[6]uintptr{sig, uintptr(unsafe.Pointer(&act)), 0, 8})
	}
}
