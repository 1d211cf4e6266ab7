// Package vsock reaches a guest by vsock(7) through the host's vhost_vsock: it
// takes an address for a VM, which the hypervisor is handed, and connects to it. A
// connection looks like any other net.Conn. It owns no state.
package vsock

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Device is the host's.
const Device = "/dev/vhost-vsock"

// Guest is the address of a VM to be: whoever holds FD has it.
type Guest struct {
	CID uint32
	FD  *os.File // of Device
}

// Addresses below firstCID are the hypervisor's, the loopback's and the host's.
const firstCID = 3

// tries of addresses that others may have.
const tries = 64

// Open takes an address that no other VM of the host has.
func Open() (*Guest, error) {
	f, err := os.OpenFile(Device, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("vsock: there is no %s: modprobe vhost_vsock, or leave the channel to virtio-serial", Device)
	}
	if err != nil {
		return nil, fmt.Errorf("vsock: %w", err)
	}
	for range tries {
		cid, err := random()
		if err == nil {
			err = setGuestCID(f, uint64(cid))
		}
		if err == nil {
			return &Guest{CID: cid, FD: f}, nil
		}
		if !errors.Is(err, unix.EADDRINUSE) {
			f.Close()
			return nil, fmt.Errorf("vsock: an address for the VM: %w", err)
		}
	}
	f.Close()
	return nil, fmt.Errorf("vsock: no free address for the VM in %d tries", tries)
}

// random chooses an address: 31 bits, so that two hosts' rarely meet.
func random() (uint32, error) {
	var b [4]byte
	if _, err := unix.Getrandom(b[:], 0); err != nil {
		return 0, err
	}
	n := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3]&0x7f)<<24
	return max(n, firstCID), nil
}

// Dial connects to a port of a guest. Until somebody listens there it fails.
func Dial(cid, port uint32) (net.Conn, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("vsock: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrVM{CID: cid, Port: port}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("vsock %d:%d: %w", cid, port, err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("vsock %d:%d: %w", cid, port, err)
	}
	return &conn{os.NewFile(uintptr(fd), fmt.Sprintf("vsock %d:%d", cid, port)), addr{cid, port}}, nil
}

// conn is a connected socket; Go's net knows no such family.
type conn struct {
	*os.File
	peer addr
}

func (c *conn) LocalAddr() net.Addr  { return addr{unix.VMADDR_CID_HOST, 0} }
func (c *conn) RemoteAddr() net.Addr { return c.peer }

var _ net.Conn = (*conn)(nil)

type addr struct{ cid, port uint32 }

func (addr) Network() string  { return "vsock" }
func (a addr) String() string { return fmt.Sprintf("%d:%d", a.cid, a.port) }
