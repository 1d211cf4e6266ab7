package gofer

import (
	"fmt"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/confine"
)

// Capabilities that a Gofer keeps, if it has them: to act on files for any
// owner. One that only reads keeps the first.
const (
	readCaps  = 1 << unix.CAP_DAC_READ_SEARCH
	writeCaps = readCaps | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_CHOWN | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID | 1<<unix.CAP_SETFCAP
)

// confineSelf takes away what serving does not need. The roots are open by now.
func confineSelf(trees []*tree) error {
	writable := false
	for _, t := range trees {
		writable = writable || !t.readonly
	}
	if err := confine.NoNewPrivs(); err != nil {
		return fmt.Errorf("gofer: %w", err)
	}
	// Where the host has no Landlock the rest must do.
	if err := leaveRoots(trees); err != nil {
		return fmt.Errorf("gofer: %w", err)
	}
	caps := uint64(readCaps)
	if writable {
		caps = writeCaps
	}
	if err := confine.KeepCapabilities(caps); err != nil {
		return fmt.Errorf("gofer: %w", err)
	}
	return Filter(writable).Install()
}

// leaveRoots leaves the process nothing of the host's files but its roots.
func leaveRoots(trees []*tree) error {
	var keep []confine.Path
	for _, t := range trees {
		p := confine.Path{FD: t.root, Rights: confine.ReadFile | confine.ReadDir}
		if !t.readonly {
			p.Rights |= confine.WriteFile | confine.Change | confine.Refer | confine.Truncate
		}
		if t.file != nil {
			file, e := openat(t.root, t.file, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if e != 0 {
				return fmt.Errorf("opening a root that is a file: %w", e)
			}
			defer closeFD(file)
			p.FD = file
			p.Rights &= confine.ReadFile | confine.WriteFile | confine.Truncate
		}
		keep = append(keep, p)
	}
	_, err := confine.AllPaths(keep)
	return err
}
