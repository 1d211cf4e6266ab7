// Package syscalls has the table of system calls and their handlers, one file
// per family. A handler is a few lines over kernel, vfs, fs and socket; its doc
// comment names the man page. It holds no locks of its own.
package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
)

// Args are a call's six arguments, as the registers had them.
type Args [6]uint64

// Int, Uint32 and FD narrow argument i as the kernel's own prototypes do.
func (a *Args) Int(i int) int32     { return int32(a[i]) }
func (a *Args) Uint32(i int) uint32 { return uint32(a[i]) }

// Handler runs one call on the task's own goroutine.
type Handler func(t *kernel.Task, a *Args) (uint64, abi.Errno)

// Row is all that is known of one call. Dispatch, --strace, help syscalls and
// the documentation read it.
type Row struct {
	Nr   uint32
	Name string
	// Args are the kinds of the arguments, separated by spaces, for --strace:
	// fd path str buf int uint hex flags:SET mode ptr off size sig pid …
	Args string
	Fn   Handler // nil: refused
	// Missing says what a partial row lacks; empty is full.
	Missing string
	// Note is for a full row: which parts are absent as in a kernel that was
	// built or set up without them, with that kernel's errno.
	Note string
	// Refuse is the errno of a row without Fn, as a kernel built without the
	// call gives it; Why says why.
	Refuse abi.Errno
	Why    string

	provisional bool // another family may replace it
}

// Table has a row for every number that Linux has given out.
var Table [512]Row

// register adds a family's rows; each family calls it from an init function.
func register(rows ...Row) {
	for _, r := range rows {
		if old := &Table[r.Nr]; old.Name != "" && !old.provisional {
			panic("syscalls: two rows for " + r.Name)
		}
		Table[r.Nr] = r
	}
}
