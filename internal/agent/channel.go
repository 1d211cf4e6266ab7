package agent

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/agent/word"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// channel gives connections to the host, one after another.
type channel interface {
	// next waits for the host.
	next() (io.ReadWriteCloser, error)
	// takeGreeted says of what next gave whether its Hello was answered.
	takeGreeted() bool
}

func openChannel(o options, m *modules) (channel, error) {
	switch o.channel {
	case "virtio":
		return openPort(o.port)
	case "vsock":
		if err := m.load(agentpb.GroupVsock); err != nil {
			return nil, err
		}
		return listenVsock()
	}
	return nil, fmt.Errorf("bulkhead.channel=%s is neither virtio nor vsock", o.channel)
}

// port is a virtio-serial port. It is open for as long as the agent lives; a
// read gives end of file while the host has not connected.
type port struct {
	fd int // f's; File.Fd would make it block
	f  *os.File

	last    *portConn
	pending []byte // of last's reader, or of next
	greeted bool   // the first session's Hello was answered
}

const portsDir = "/sys/class/virtio-ports"

// portWait is how long the hypervisor may take to announce the port: a host that
// has forty times as much to do as it can does not run its threads for seconds.
const portWait = time.Minute

func openPort(name string) (channel, error) {
	if word.First.FD >= 0 {
		return portOf(&word.First, name)
	}
	deadline := time.Now().Add(portWait)
	for {
		dev, err := findPort(name)
		if err == nil {
			// Non-blocking: a write that blocked would spin in the driver
			// until the host has taken it.
			fd, err := unix.Open("/dev/"+dev, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
			if err != nil {
				return nil, fmt.Errorf("port %s (/dev/%s): %w", name, dev, err)
			}
			// Only the agent opens it: one opener at a time is the driver's
			// own rule, and the node is root's.
			return newPort(fd, dev), nil
		}
		if time.Now().After(deadline) {
			return nil, err
		}
		time.Sleep(time.Millisecond) // the control queue announces the port
	}
}

func newPort(fd int, dev string) *port { return &port{fd: fd, f: os.NewFile(uintptr(fd), dev)} }

// portOf takes over the port over which the first word was said.
func portOf(g *word.Greeting, name string) (channel, error) {
	if dev, err := findPort(name); err != nil || dev != g.Port {
		unix.Close(g.FD)
		return nil, fmt.Errorf("the virtio-serial port %s is not the one named %s (%s): %w", g.Port, name, dev, err)
	}
	p := newPort(g.FD, g.Port)
	p.greeted, p.pending = g.Said, g.Pending
	return p, nil
}

func findPort(name string) (string, error) {
	list, err := os.ReadDir(portsDir)
	if err != nil {
		return "", fmt.Errorf("virtio-serial: %w", err)
	}
	for _, d := range list {
		raw, err := os.ReadFile(portsDir + "/" + d.Name() + "/name")
		if err == nil && strings.TrimSpace(string(raw)) == name {
			return d.Name(), nil
		}
	}
	return "", fmt.Errorf("virtio-serial has no port named %s: -device virtserialport,name=%s", name, name)
}

// next waits until the host has said something.
func (p *port) next() (io.ReadWriteCloser, error) {
	if p.last != nil {
		<-p.last.closed // its reader has left
	}
	if err := p.f.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("virtio-serial: %w", err)
	}
	p.last = &portConn{p: p, closed: make(chan struct{})}
	wait := 500 * time.Microsecond
	for len(p.pending) == 0 && !p.greeted {
		fds := []unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}
		_, err := unix.Poll(fds, 1000)
		if err != nil && err != unix.EINTR {
			return nil, fmt.Errorf("virtio-serial: %w", err)
		}
		if fds[0].Revents&unix.POLLHUP != 0 {
			time.Sleep(wait) // there is no event for the host's coming
			wait = min(2*wait, 10*time.Millisecond)
			continue
		}
		if fds[0].Revents&unix.POLLIN != 0 {
			break
		}
	}
	return p.last, nil
}

// takeGreeted says, once, whether the session's Hello was answered already.
func (p *port) takeGreeted() bool {
	g := p.greeted
	p.greeted = false
	return g
}

// portConn is the port for one session.
type portConn struct {
	p      *port
	once   sync.Once
	closed chan struct{}

	mu   sync.Mutex // held while reading
	gone atomic.Bool
}

func (c *portConn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone.Load() {
		return 0, os.ErrClosed
	}
	if len(c.p.pending) > 0 {
		n := copy(b, c.p.pending)
		c.p.pending = c.p.pending[n:]
		return n, nil
	}
	return c.p.f.Read(b)
}

// Unread is called by the reader, from what it has read.
func (c *portConn) Unread(b []byte) { c.p.pending = append(b, c.p.pending...) }

func (c *portConn) Write(b []byte) (int, error) {
	if c.gone.Load() {
		return 0, os.ErrClosed
	}
	return c.p.f.Write(b)
}

// Close ends a read that waits, and leaves the port open for the next session.
func (c *portConn) Close() error {
	c.once.Do(func() {
		c.gone.Store(true)
		_ = c.p.f.SetReadDeadline(time.Unix(1, 0))
		c.mu.Lock() // the reader has left
		close(c.closed)
		c.mu.Unlock()
	})
	return nil
}

// vsock is a listening vsock(7) socket.
type vsock struct{ fd int }

func listenVsock() (channel, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("vsock: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: agentpb.VsockPort}); err != nil {
		return nil, fmt.Errorf("vsock port %d: %w", agentpb.VsockPort, err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		return nil, fmt.Errorf("vsock port %d: %w", agentpb.VsockPort, err)
	}
	return &vsock{fd}, nil
}

func (v *vsock) takeGreeted() bool { return false }

// next takes a connection of the host's. A container's processes can connect
// too (VMADDR_CID_LOCAL, or the guest's own address), and are turned away.
func (v *vsock) next() (io.ReadWriteCloser, error) {
	for {
		fd, from, err := unix.Accept4(v.fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err == unix.EINTR || err == unix.ECONNABORTED {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("vsock: %w", err)
		}
		if vm, ok := from.(*unix.SockaddrVM); ok && vm.CID == unix.VMADDR_CID_HOST {
			return os.NewFile(uintptr(fd), "vsock"), nil
		}
		unix.Close(fd)
	}
}
