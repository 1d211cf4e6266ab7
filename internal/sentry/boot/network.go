package boot

import (
	"bulkhead.dev/bulkhead/internal/wire"
)

// network attaches the interfaces that were handed over.
func (s *sandbox) network() error {
	if s.cfg.Network.Mode != wire.NetworkPacket {
		return nil
	}
	return attachLinks(&s.cfg.Network, nil)
}

// lateNetwork is network for interfaces that came with Start.
func (s *sandbox) lateNetwork(n *wire.Network, fds []int) error {
	if n.Mode != wire.NetworkPacket {
		return nil
	}
	return attachLinks(n, fds)
}
