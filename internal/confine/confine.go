// Package confine has the steps by which a process of the sandbox gives up
// rights: no_new_privs, capabilities, and paths (Landlock). They act on every
// thread of the process. It owns no state.
package confine

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// NoNewPrivs sets no_new_privs (prctl(2)).
func NoNewPrivs() error {
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
	ReadFile = 1 << 2
	ReadDir  = 1 << 3
)

const (
	allV1    = 1<<13 - 2 // without execute
	refer    = 1 << 13
	truncate = 1 << 14
)

// Paths leaves only those paths, and what lies below, in reach of calls that
// take a path, for the calling thread, which must have no_new_privs, and for
// what it executes: threads that did this one by one would each be in a domain
// of its own, and could not trace each other's children. Executing stays
// allowed. It tells whether the host could do it: without Landlock the filter
// must do.
func Paths(keep []Path) (bool, error) {
	version, e := landlockCreate(nil)
	if e != 0 {
		return false, nil // not in this kernel, or not enabled
	}
	handled := uint64(allV1)
	if version >= 2 {
		handled |= refer
	}
	if version >= 3 {
		handled |= truncate
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
	if _, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(fd), 0, 0); e != 0 {
		return false, fmt.Errorf("landlock_restrict_self: %w", e)
	}
	return true, nil
}
