package workbench

import (
	"context"
	"io"
	"os"

	"bulkhead.dev/bulkhead/internal/workbench/drive"
)

// Place is what the workbench's other commands (audit, advise) stand on, too:
// a directory that is removed at the end, the guest programs in it, and a root
// file system for containers.
type Place struct {
	Dir, Bench, RootFS string
	site               *site
}

// Enclose moves the command into namespaces of its own, as a measurement is:
// when moved, the caller returns code and err; else it is inside, or there are
// none to be had.
func Enclose(ctx context.Context, stderr io.Writer) (inside context.Context, moved bool, code int, err error) {
	if os.Geteuid() == 0 && os.Getenv(innerEnv) == "" {
		code, err = outer(ctx, stderr)
		return ctx, true, code, err
	}
	if err := enter(); err != nil {
		return ctx, false, exitFailed, err
	}
	if err := drive.BecomeSubreaper(); err != nil {
		return ctx, false, exitFailed, err
	}
	drive.RemoveCgroups()
	return untilTold(ctx), false, exitOK, nil
}

// ErrSaid is an error that has been printed already.
var ErrSaid = errSaid

// NewPlace makes a place below work; rootfs is as bench --rootfs has it.
func NewPlace(ctx context.Context, out, work, rootfs string) (*Place, error) {
	s, err := newSite(ctx, &options{out: out, work: work, rootfs: rootfs})
	if err != nil {
		return nil, err
	}
	return &Place{Dir: s.dir, Bench: s.bench, RootFS: s.rootfs, site: s}, nil
}

// Remove leaves nothing of the place.
func (p *Place) Remove() { p.site.remove() }

// SearchPath is where runtimes are looked for before $PATH.
func SearchPath() []string { return searchPath() }
