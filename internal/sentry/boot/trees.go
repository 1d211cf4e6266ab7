package boot

import (
	"fmt"

	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/fs/goferfs"
	"bulkhead.dev/bulkhead/internal/sentry/fs/overlay"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/wire"
)

// tree gives the Gofer's tree of that index, under an overlay if asked.
func (s *sandbox) tree(index int, mode wire.OverlayMode, exclusive bool) (*vfs.Filesystem, error) {
	if s.files == nil {
		s.files = goferfs.NewClient(s.gofer)
		s.files.CPU, s.files.Spare, s.files.Ahead = platform.CurrentCPU, platform.SpareCPU, platform.Ahead
	}
	fs, e := goferfs.New(s.files, goferfs.Options{Mount: index, Readonly: mode == wire.OverlayMemory, Shared: !exclusive})
	if e != 0 {
		return nil, fmt.Errorf("the Gofer's tree %d: %w", index, e)
	}
	if mode != wire.OverlayMemory {
		return fs, nil
	}
	over, e := overlay.New(vfs.Internal, fs, "")
	if e != 0 {
		return nil, fmt.Errorf("the overlay over the Gofer's tree %d: %w", index, e)
	}
	return over, nil
}
