package container

import (
	"fmt"
	"os"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// A container's network namespace is found or made when it is created, and its
// interfaces are taken over when it starts: an engine may attach them in
// between, or by a hook. The Sentry is in the namespace itself, so that
// /proc/PID/ns/net is what an engine expects; it uses nothing of it but the
// packet sockets it is handed.

// podSandbox annotations mark, beside those of podKeys, the container that only
// holds a pod's network namespace: it must leave the interfaces to the others.
var podSandbox = map[string]string{
	"io.kubernetes.docker.type":          "podsandbox",
	"com.github.containers.podman.infra": "true",
}

// network decides what the container is attached to. It returns the namespace
// to start the Sentry in, nil for a new one.
func (c *creation) network(ns *specs.LinuxNamespace) (*os.File, error) {
	s := &c.launch.sentry
	s.Network.Mode = wire.NetworkPending
	cfg := c.bundle.config
	c.rec.Loopback = cfg.Annotations[networkAnnotation] == "loopback" || ns == nil
	if c.leavesInterfaces() {
		c.rec.Loopback = true
	}
	if c.rec.Loopback {
		s.Network.Mode = wire.NetworkLoopback
	}
	if ns == nil || ns.Path == "" {
		// An ordinary user may not enter the Sentry's namespace again, and so
		// nobody can attach anything to it.
		c.rec.OwnNetns = ns != nil && os.Geteuid() == 0
		if !c.rec.OwnNetns {
			c.rec.Loopback, s.Network.Mode = true, wire.NetworkLoopback
		}
		return nil, nil
	}
	c.rec.Netns = ns.Path
	f, err := c.openNetns()
	if err != nil {
		return nil, err
	}
	c.launch.netns = f
	for i := range c.launch.sentryPlans {
		c.launch.sentryPlans[i].flags &^= unix.CLONE_NEWNET
		c.launch.sentryPlans[i].joined = true
	}
	return f, nil
}

// leavesInterfaces says whether the interfaces of its network namespace are for other
// containers of a pod: behind the VM wall they are the sandbox container's, whose VM
// is the pod's, else those of all the others.
func (c *creation) leavesInterfaces() bool {
	if c.rec.Wall == WallVM {
		return c.rec.Pod != ""
	}
	a := c.bundle.config.Annotations
	sandbox, _ := podPart(a)
	for key, value := range podSandbox {
		sandbox = sandbox || a[key] == value
	}
	return sandbox
}

// openNetns opens the container's network namespace; nil if it has none.
func (c *Container) openNetns() (*os.File, error) {
	path := c.rec.Netns
	if path == "" {
		if !c.rec.OwnNetns {
			return nil, nil
		}
		path = fmt.Sprintf("/proc/%d/ns/net", c.rec.Sentry.Pid)
	}
	f, err := openNamespace(path, unix.CLONE_NEWNET)
	if err != nil {
		return nil, fmt.Errorf("network namespace: %w", err)
	}
	return f, nil
}

// nsGetNSType is NS_GET_NSTYPE of ioctl_ns(2).
const nsGetNSType = 0xb703

// openNamespace opens a namespace and checks that it is of a kind, which is a
// CLONE_NEW flag.
func openNamespace(path string, kind int) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil || st.Type != unix.NSFS_MAGIC {
		f.Close()
		return nil, fmt.Errorf("%s is not a namespace", path)
	}
	if got, err := unix.IoctlRetInt(int(f.Fd()), nsGetNSType); err != nil || got != kind {
		f.Close()
		return nil, fmt.Errorf("%s is a namespace of another kind", path)
	}
	return f, nil
}

// takeNetwork opens the interfaces of the container's network namespace for
// the Sentry. The caller owns the descriptors.
func (c *Container) takeNetwork() (*wire.Network, []int, error) {
	if c.rec.Loopback {
		return nil, nil, nil
	}
	ns, err := c.openNetns()
	if err != nil {
		return nil, nil, err
	}
	if ns == nil {
		return &wire.Network{Mode: wire.NetworkLoopback}, nil, nil
	}
	defer ns.Close()
	var fds []int
	net, err := inNetNS(ns, func() (*wire.Network, error) {
		var n *wire.Network
		var err error
		if c.rec.Wall == WallVM {
			n, err = describeNetwork()
		} else {
			n, fds, err = collectNetwork()
		}
		return n, err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("network namespace %s: %w", ns.Name(), err)
	}
	return net, fds, nil
}

// describeNetwork describes the current namespace's interfaces for a VM's
// monitor, which is in that namespace and joins them itself.
func describeNetwork() (*wire.Network, error) {
	net, err := readNetwork()
	if err != nil {
		return nil, err
	}
	net.Mode = wire.NetworkPacket
	if len(net.Interfaces) == 0 {
		net.Mode = wire.NetworkLoopback
	}
	return net, nil
}

// collectNetwork describes the current namespace's interfaces, and opens a
// packet socket on each that is up. The host's kernel is then made deaf on
// their addresses, so that it does not answer beside the guest's.
func collectNetwork() (*wire.Network, []int, error) {
	net, err := readNetwork()
	if err != nil {
		return nil, nil, err
	}
	var fds []int
	for i := range net.Interfaces {
		fd, err := packetSocket(net.Interfaces[i].Index)
		if err != nil {
			for _, fd := range fds {
				unix.Close(fd)
			}
			return nil, nil, fmt.Errorf("interface %s: %w", net.Interfaces[i].Name, err)
		}
		net.Interfaces[i].FD = len(fds)
		fds = append(fds, fd)
	}
	if len(fds) == 0 {
		return &wire.Network{Mode: wire.NetworkLoopback}, nil, nil
	}
	net.Mode = wire.NetworkPacket
	return net, fds, deafen(net)
}

// packetSocket opens a raw packet socket bound to one interface.
func packetSocket(index int) (int, error) {
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8 // in network byte order
	// Protocol 0 until it is bound: nothing of other interfaces gets in.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: index}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("packet socket: %w", err)
	}
	// What the Sentry itself sends need not come back.
	_ = unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1)
	return fd, nil
}
