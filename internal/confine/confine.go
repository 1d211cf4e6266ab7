// Package confine has the steps by which a process of the sandbox gives up
// rights: no_new_privs, capabilities, and paths (Landlock). They act on every
// thread of the process. It owns no state.
package confine

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// NoNewPrivs sets no_new_privs (prctl(2)) on every thread. If one has it, all
// do: it was there when the process was executed, and is nowhere set on less.
func NoNewPrivs() error {
	if has, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && has == 1 {
		return nil
	}
	if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e == unix.ENOTSUP {
		return fmt.Errorf("no_new_privs on every thread: this program was built with cgo; build it with CGO_ENABLED=0, as make build does")
	} else if e != 0 {
		return fmt.Errorf("no_new_privs: %w", e)
	}
	return nil
}

// Path is a file or directory that stays in reach.
type Path struct {
	FD     int // an open descriptor of it
	Rights uint64
}

// Rights of Landlock on files and directories (landlock(7)).
const (
	execute   = 1 << 0
	WriteFile = 1 << 1
	ReadFile  = 1 << 2
	ReadDir   = 1 << 3
	Remove    = 1<<4 | 1<<5 // directories and files
	// Change is to make and remove entries of a directory, but for device
	// nodes: remove_dir, remove_file, make_dir, make_reg, make_sock, make_fifo,
	// make_sym.
	Change   = 1<<4 | 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<12
	Refer    = 1 << 13 // to link and rename between directories; version 2
	Truncate = 1 << 14 // version 3

	allV1 = 1<<13 - 1
)

// Paths leaves only those paths, and what lies below, in reach of calls that
// take a path, for the calling thread, which must have no_new_privs, and for
// what it executes: threads that did this one by one would each be in a domain
// of its own, and could not trace each other's children. Executing stays
// allowed. It tells whether the host could do it: without Landlock the filter
// must do.
func Paths(keep []Path) (bool, error) {
	return restrict(keep, allV1&^execute, func(fd uintptr) unix.Errno {
		_, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
		return e
	})
}

// AllPaths is Paths for every thread of a process that traces none and
// executes nothing.
func AllPaths(keep []Path) (bool, error) {
	return restrict(keep, allV1, func(fd uintptr) unix.Errno {
		_, _, e := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0)
		return e
	})
}

// restrict makes a ruleset that handles the rights of version 1 given and all
// that came later, and has self apply it.
func restrict(keep []Path, handled uint64, self func(fd uintptr) unix.Errno) (bool, error) {
	version, e := landlockCreate(nil)
	if e != 0 {
		return false, nil // not in this kernel, or not enabled
	}
	if version >= 2 {
		handled |= Refer
	}
	if version >= 3 {
		handled |= Truncate
	}
	fd, e := landlockCreate(&handled)
	if e != 0 {
		return false, fmt.Errorf("landlock_create_ruleset: %w", e)
	}
	defer unix.Close(fd)
	for _, p := range keep {
		if e := landlockAdd(fd, p.FD, p.Rights&handled); e != 0 {
			return false, fmt.Errorf("landlock_add_rule: %w", e)
		}
	}
	if e := self(uintptr(fd)); e != 0 {
		return false, fmt.Errorf("landlock_restrict_self: %w", e)
	}
	return true, nil
}
