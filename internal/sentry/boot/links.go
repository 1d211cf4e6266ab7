package boot

import (
	"os"

	"bulkhead.dev/bulkhead/internal/sentry/socket/netns"
	"bulkhead.dev/bulkhead/internal/sentry/syscalls"
	"bulkhead.dev/bulkhead/internal/wire"
)

// attachLinks hands the interfaces to the guest's network. A NetInterface.FD
// is an index into fds, or, if fds is nil, an inherited descriptor.
func attachLinks(n *wire.Network, fds []int) error {
	file := netns.FromFDs(fds)
	if fds == nil {
		file = func(fd int) (*os.File, error) { return os.NewFile(uintptr(fd), "packet socket"), nil }
	}
	return syscalls.Net.Start(n, file)
}
