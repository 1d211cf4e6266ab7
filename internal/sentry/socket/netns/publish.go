package netns

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/socket/inet"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	host "golang.org/x/sys/unix"
)

// Publish makes /proc/net, and the files of /proc/sys/net that the namespace
// obeys, show this namespace.
func (n *Namespace) Publish() {
	for _, name := range ProcNetNames {
		inspect.ProvideText("net/"+name, func(b *bytes.Buffer) {
			content, _ := n.ProcNet(name)
			b.Write(content)
		})
	}
	publishInt("core/somaxconn", n.Somaxconn, n.SetSomaxconn, 0, 65535)
	publishInt("ipv4/ip_unprivileged_port_start", n.UnprivilegedPort, n.SetUnprivilegedPort, 0, 65535)
	inspect.Provide("sys/net/ipv4/ip_local_port_range", inspect.Content{
		Mode: 0644,
		Read: func(_ vfs.Caller, b *bytes.Buffer) abi.Errno {
			lo, hi := n.PortRange()
			fmt.Fprintf(b, "%d\t%d\n", lo, hi)
			return 0
		},
		Write: func(_ vfs.Caller, data []byte) abi.Errno {
			f := strings.Fields(string(data))
			if len(f) != 2 {
				return host.EINVAL
			}
			lo, err := strconv.ParseUint(f[0], 10, 16)
			hi, err2 := strconv.ParseUint(f[1], 10, 16)
			if err != nil || err2 != nil || lo == 0 || lo > hi {
				return host.EINVAL
			}
			n.SetPortRange(uint16(lo), uint16(hi))
			return 0
		},
	})
}

func publishInt(name string, get func() int, set func(int), lo, hi int) {
	inspect.Provide("sys/net/"+name, inspect.Content{
		Mode: 0644,
		Read: func(_ vfs.Caller, b *bytes.Buffer) abi.Errno {
			fmt.Fprintf(b, "%d\n", get())
			return 0
		},
		Write: func(_ vfs.Caller, data []byte) abi.Errno {
			v, err := strconv.Atoi(strings.TrimSpace(strings.TrimRight(string(data), "\x00")))
			if err != nil || v < lo || v > hi {
				return host.EINVAL
			}
			set(v)
			return 0
		},
	})
}

// Interfaces gives the network's interfaces, without making the stack.
func (n *Namespace) Interfaces() []inet.LinkInfo { return n.interfaces(n.inet.Load()) }

// PortRange and SetPortRange are net.ipv4.ip_local_port_range.
func (n *Namespace) PortRange() (lo, hi uint16) {
	v := n.ports.Load()
	return uint16(v >> 16), uint16(v)
}

func (n *Namespace) SetPortRange(lo, hi uint16) {
	n.ports.Store(uint32(lo)<<16 | uint32(hi))
	if st := n.inet.Load(); st != nil {
		st.SetPortRange(lo, hi)
	}
}
