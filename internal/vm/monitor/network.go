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
// One is made for each interface that the namespace has by then, or a single
// one when it has none, because engines also attach interfaces between create
// and start. What Start finds is joined to them, in order, and the guest gives
// the device the interface's MAC address: until then it has one by its place,
// the same in every VM, so that a template's devices are those of its clones.

// nic is a network device of the VM.
type nic struct {
	tap  *os.File
	mac  string
	used bool
	peer int // index of the interface it is joined to, 0 if none
}

// maxNICs is how many interfaces a VM can have.
const maxNICs = 8

// makeNICs opens a tap for each interface to come.
func (m *monitor) makeNICs() error {
	if m.cfg.Container.Network.Mode != wire.NetworkPending {
		return nil
	}
	count := max(1, countInterfaces())
	if count > maxNICs {
		return fmt.Errorf("the network namespace has %d interfaces; a VM can have %d", count, maxNICs)
	}
	for i := range count {
		f, err := tap.Open(fmt.Sprint("bhtap", i))
		if err != nil {
			return err
		}
		m.nics = append(m.nics, nic{tap: f, mac: slotMAC(i)})
	}
	return nil
}

func (m *monitor) netDevices() (out []hypervisor.Net) {
	for i, n := range m.nics {
		out = append(out, hypervisor.Net{ID: fmt.Sprint("net", i), Tap: n.tap, MAC: n.mac})
	}
	return out
}

// countInterfaces counts what the namespace has that is up, loopback apart.
func countInterfaces() (n int) {
	list, err := net.Interfaces()
	if err != nil {
		return 0
	}
	for _, i := range list {
		if i.Flags&net.FlagLoopback == 0 && i.Flags&net.FlagUp != 0 && len(i.HardwareAddr) == 6 {
			n++
		}
	}
	return n
}

// slotMAC is the address of device n until an interface is joined to it.
func slotMAC(n int) string { return net.HardwareAddr{0x02, 0xb0, 0, 0, 0, byte(n)}.String() }

// joinNetwork attaches the interfaces that the container's namespace has now.
func (m *monitor) joinNetwork(n *wire.Network) (*agentpb.Network, error) {
	if n == nil || n.Mode != wire.NetworkPacket {
		return nil, nil
	}
	out := &agentpb.Network{}
	names := make(map[int]string)
	for i := range n.Interfaces {
		w := &n.Interfaces[i]
		slot := m.freeNIC()
		if slot < 0 {
			return nil, fmt.Errorf("interface %s was attached after the VM was made, which has no device left for it: attach interfaces before create, or a single one before start", w.Name)
		}
		if err := tap.Attach(fmt.Sprint("bhtap", slot), w.Index, w.MTU); err != nil {
			return nil, fmt.Errorf("interface %s: %w", w.Name, err)
		}
		m.nics[slot].peer = w.Index
		names[w.Index] = w.Name
		a := &agentpb.Interface{Mac: m.nics[slot].mac, Name: w.Name, Mtu: uint32(w.MTU), Addresses: w.Addrs}
		if w.MAC != a.Mac {
			a.SetMac = w.MAC
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

// leaveNetwork takes the rules away that join the interfaces.
func (m *monitor) leaveNetwork() {
	for _, n := range m.nics {
		if n.peer > 0 {
			tap.Detach(n.peer)
		}
	}
}

// freeNIC takes the next device that is not in use, -1 if there is none.
func (m *monitor) freeNIC() int {
	for i := range m.nics {
		if !m.nics[i].used {
			m.nics[i].used = true
			return i
		}
	}
	return -1
}
