package gofer

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// Capabilities that a Gofer keeps, if it has them: to act on files for any
// owner. One that only reads keeps the first.
const (
	readCaps  = 1 << unix.CAP_DAC_READ_SEARCH
	writeCaps = readCaps | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_CHOWN | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID | 1<<unix.CAP_SETFCAP
)

// confine takes away what serving does not need. The roots are open by now.
func confine(trees []*tree) error {
	writable := false
	for _, t := range trees {
		writable = writable || !t.readonly
	}
	if _, _, e := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0); e != 0 {
		return fmt.Errorf("gofer: no_new_privs: %w", e)
	}
	// Where the host has no Landlock the rest must do.
	if err := landlock(trees); err != nil {
		return err
	}
	caps := uint64(readCaps)
	if writable {
		caps = writeCaps
	}
	if err := keepCaps(caps); err != nil {
		return err
	}
	return Filter(writable).Install()
}
