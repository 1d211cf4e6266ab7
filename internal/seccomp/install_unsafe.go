package seccomp

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Install puts the filter on every thread of the process. no_new_privs must be
// set.
func (f *Filter) Install() error {
	insns, err := f.Compile()
	if err != nil {
		return err
	}
	return Load(insns)
}

// Load puts a compiled filter on every thread of the process.
func Load(insns []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(insns)), Filter: unsafe.SliceData(insns)}
	const setModeFilter, tsync = 1, 1
	r, _, e := unix.RawSyscall(unix.SYS_SECCOMP, setModeFilter, tsync, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return fmt.Errorf("seccomp: installing a filter of %d instructions: %w", len(insns), e)
	}
	if r != 0 {
		return fmt.Errorf("seccomp: installing a filter: thread %d has another filter", r)
	}
	return nil
}

// LoadCaller puts a compiled filter on the calling thread alone, for what it
// executes next.
func LoadCaller(insns []unix.SockFilter) error {
	if len(insns) == 0 || len(insns) > maxInsns {
		return fmt.Errorf("seccomp: a filter of %d instructions", len(insns))
	}
	prog := unix.SockFprog{Len: uint16(len(insns)), Filter: unsafe.SliceData(insns)}
	const setModeFilter = 1
	if _, _, e := unix.RawSyscall(unix.SYS_SECCOMP, setModeFilter, 0, uintptr(unsafe.Pointer(&prog))); e != 0 {
		return fmt.Errorf("seccomp: a filter of %d instructions for what is executed: %w", len(insns), e)
	}
	return nil
}
