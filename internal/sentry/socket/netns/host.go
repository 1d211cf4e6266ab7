package netns

import (
	"fmt"
	"os"

	"bulkhead.dev/bulkhead/internal/sentry/socket/hostlink"
	"bulkhead.dev/bulkhead/internal/sentry/socket/inet"
	"bulkhead.dev/bulkhead/internal/wire"
)

// Start gives the namespace the interfaces of cfg, and makes the stack, so
// that it answers its neighbours from now on. file gives the packet socket of
// a NetInterface.FD. With NetworkLoopback there is nothing to do. A stack that
// was made before, by what ran before init, gets them too.
func (n *Namespace) Start(cfg *wire.Network, file func(fd int) (*os.File, error)) error {
	if cfg == nil || cfg.Mode != wire.NetworkPacket {
		return nil
	}
	n.mu.Lock()
	st := n.inet.Load()
	if st == nil {
		n.links = func(st *inet.Stack) error { return hostlink.Attach(st, cfg, file) }
	}
	n.mu.Unlock()
	var err error
	if st != nil {
		err = hostlink.Attach(st, cfg, file)
	} else {
		_, err = n.start()
	}
	if err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

// FromFDs gives files for Start: number i is fds[i], taken over. They must be
// non-blocking.
func FromFDs(fds []int) func(int) (*os.File, error) {
	return func(i int) (*os.File, error) {
		if i < 0 || i >= len(fds) {
			return nil, fmt.Errorf("descriptor %d of %d", i, len(fds))
		}
		return os.NewFile(uintptr(fds[i]), "packet socket"), nil
	}
}
