package boot

import (
	"net"
	"os"

	"bulkhead.dev/bulkhead/internal/sentry/fs/sys"
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

// interfaces lists the network's for sysfs.
func interfaces() []sys.Interface {
	var out []sys.Interface
	for _, l := range syscalls.Net.Interfaces() {
		out = append(out, sys.Interface{
			Name: l.Name, Index: l.Index, MTU: l.MTU, Flags: l.Flags(), Type: int(l.HardwareType()),
			Address: net.HardwareAddr(l.MAC[:]).String(),
			Stats: func() map[string]uint64 {
				return map[string]uint64{
					"rx_bytes": l.RxBytes, "rx_packets": l.RxPackets, "tx_bytes": l.TxBytes, "tx_packets": l.TxPackets,
				}
			},
		})
	}
	return out
}
