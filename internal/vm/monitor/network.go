package monitor

import (
	"fmt"
	"net"
	"os"

	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/vm/tap"
	"bulkhead.dev/bulkhead/internal/wire"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// A VM's network devices are there from its boot: a microvm has no hot-plug.
// One is made for each interface that the namespace has by then, with its MAC
// address, and a spare one when it has none, because engines also attach
// interfaces between create and start. What Start finds is joined to them.

// nic is a network device of the VM.
type nic struct {
	tap  *os.File
	mac  string
	used bool
}

// maxNICs is how many interfaces a VM can have.
const maxNICs = 8

// makeNICs opens a tap for each interface to come.
func (m *monitor) makeNICs() error {
	if m.cfg.Container.Network.Mode != wire.NetworkPending {
		return nil
	}
	macs := interfaceMACs()
	if len(macs) == 0 {
		macs = []string{spareMAC()}
	}
	if len(macs) > maxNICs {
		return fmt.Errorf("the network namespace has %d interfaces; a VM can have %d", len(macs), maxNICs)
	}
	for i, mac := range macs {
		f, err := tap.Open(fmt.Sprint("bhtap", i))
		if err != nil {
			return err
		}
		m.nics = append(m.nics, nic{tap: f, mac: mac})
	}
	return nil
}

func (m *monitor) netDevices() (out []hypervisor.Net) {
	for i, n := range m.nics {
		out = append(out, hypervisor.Net{ID: fmt.Sprint("net", i), Tap: n.tap, MAC: n.mac})
	}
	return out
}

// interfaceMACs lists what the namespace has that is up, loopback apart.
func interfaceMACs() (out []string) {
	list, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range list {
		if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 && len(i.HardwareAddr) == 6 {
			out = append(out, i.HardwareAddr.String())
		}
	}
	return out
}

// spareMAC is a random address, locally administered.
func spareMAC() string {
	b := entropy()
	return net.HardwareAddr{0x02, 0xb0, b[0], b[1], b[2], b[3]}.String()
}

// joinNetwork attaches the interfaces that the container's namespace has now.
func (m *monitor) joinNetwork(n *wire.Network) (*agentpb.Network, error) {
	if n == nil || n.Mode != wire.NetworkPacket {
		return nil, nil
	}
	out := &agentpb.Network{}
	names := make(map[int]string)
	for i := range n.Interfaces {
		w := &n.Interfaces[i]
		slot := m.slotFor(w.MAC)
		if slot < 0 {
			return nil, fmt.Errorf("interface %s was attached after the VM was made, which has no device left for it: attach interfaces before create, or one alone before start", w.Name)
		}
		if err := tap.Attach(fmt.Sprint("bhtap", slot), w.Index, w.MTU); err != nil {
			return nil, fmt.Errorf("interface %s: %w", w.Name, err)
		}
		names[w.Index] = w.Name
		a := &agentpb.Interface{Mac: m.nics[slot].mac, Name: w.Name, Mtu: uint32(w.MTU), Addresses: w.Addrs}
		if w.MAC != a.Mac {
			return nil, fmt.Errorf("interface %s was attached after the VM was made", w.Name)
		}
		out.Interfaces = append(out.Interfaces, a)
	}
	for _, r := range n.Routes {
		out.Routes = append(out.Routes, &agentpb.Route{
			Destination: r.Dst, Gateway: r.Gateway, Source: r.Src, Interface: names[r.Interface], Metric: uint32(r.Metric), Scope: uint32(r.Scope),
		})
	}
	return out, nil
}

// slotFor finds the device with a MAC address, else a spare one.
func (m *monitor) slotFor(mac string) int {
	spare := -1
	for i := range m.nics {
		switch n := &m.nics[i]; {
		case n.used:
		case n.mac == mac:
			n.used = true
			return i
		case spare < 0:
			spare = i
		}
	}
	if spare >= 0 {
		m.nics[spare].used = true
	}
	return spare
}
