//go:build vm

package guest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// vsockDevice is a device of virtio's vsock kind behind QEMU's
// vhost-user-vsock-device, for hosts without vhost_vsock: the guest's side is the
// same kernel code. It speaks the vhost-user protocol (QEMU,
// docs/interop/vhost-user.rst) and virtio 1.2, 5.10, as far as one connection from
// the host needs it.
//
// Locks: mu guards all of the device; more is signalled when there may be room for
// bytes to the guest, or bytes from it.
type vsockDevice struct {
	t      *testing.T
	listen *net.UnixListener

	mu      sync.Mutex
	more    *sync.Cond
	regions []vhostRegion
	rings   [2]ring // to the guest (rx), from it (tx)
	stream  *vsockStream
}

// vhostRegion is a part of the guest's memory.
type vhostRegion struct {
	guest, size, user uint64
	bytes             []byte
}

// ring is a split virtqueue.
type ring struct {
	size              uint32
	desc, used, avail []byte
	next              uint16 // of avail
	call              int
}

const descNext = 1

var le = binary.LittleEndian

// newVsockDevice listens; args are QEMU's.
func newVsockDevice(t *testing.T) (d *vsockDevice, args []string) {
	t.Helper()
	d = &vsockDevice{t: t}
	d.more = sync.NewCond(&d.mu)
	path := filepath.Join(t.TempDir(), "vsock")
	var err error
	if d.listen, err = net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.listen.Close() })
	go func() {
		c, err := d.listen.AcceptUnix()
		if err != nil {
			return
		}
		defer c.Close()
		if err := d.serve(c); err != nil && !errors.Is(err, io.EOF) {
			t.Logf("vhost-user: %v", err)
		}
		d.end()
	}()
	ram := filepath.Join(t.TempDir(), "ram")
	return d, []string{
		"-object", "memory-backend-file,id=ram,size=256M,share=on,mem-path=" + ram, "-machine", "memory-backend=ram",
		"-chardev", "socket,id=vsock,path=" + path, "-device", "vhost-user-vsock-device,chardev=vsock",
	}
}

// serve answers QEMU's messages.
func (d *vsockDevice) serve(c *net.UnixConn) error {
	var head [12]byte
	body, oob := make([]byte, 4096), make([]byte, 256)
	for {
		n, oobn, _, _, err := c.ReadMsgUnix(head[:], oob)
		if err != nil {
			return err
		}
		if _, err := io.ReadFull(c, head[n:]); err != nil {
			return err
		}
		size := le.Uint32(head[8:])
		if int(size) > len(body) {
			return fmt.Errorf("a message of %d bytes", size)
		}
		if _, err := io.ReadFull(c, body[:size]); err != nil {
			return err
		}
		reply, err := d.message(le.Uint32(head[:]), body[:size], descriptors(oob[:oobn]))
		if err != nil {
			return err
		}
		if reply == nil {
			continue
		}
		out := append(head[:4:4], 0, 0, 0, 0, 0, 0, 0, 0)
		le.PutUint32(out[4:], 1|4) // version 1, a reply
		le.PutUint32(out[8:], uint32(len(reply)))
		if _, err := c.Write(append(out, reply...)); err != nil {
			return err
		}
	}
}

func descriptors(oob []byte) (fds []int) {
	list, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range list {
		if f, err := unix.ParseUnixRights(&m); err == nil {
			fds = append(fds, f...)
		}
	}
	return fds
}

// message carries out one request.
func (d *vsockDevice) message(request uint32, b []byte, fds []int) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	ring := func() (*ring, error) {
		if i := le.Uint32(b) & 0xff; int(i) < len(d.rings) {
			return &d.rings[i], nil
		}
		return nil, fmt.Errorf("request %d of ring %d", request, le.Uint32(b))
	}
	number := func(v uint64) []byte { return le.AppendUint64(nil, v) }
	switch request {
	case 1: // GET_FEATURES: VERSION_1 and PROTOCOL_FEATURES
		return number(1<<32 | 1<<30), nil
	case 15: // GET_PROTOCOL_FEATURES: CONFIG
		return number(1 << 9), nil
	case 24: // GET_CONFIG
		if len(b) < 12+8 {
			return nil, fmt.Errorf("a configuration of %d bytes", len(b))
		}
		le.PutUint64(b[12:], vsockCID)
		return append([]byte(nil), b...), nil
	case 5:
		return nil, d.memory(b, fds)
	case 8: // SET_VRING_NUM
		r, err := ring()
		if err == nil {
			r.size = le.Uint32(b[4:])
		}
		return nil, err
	case 10: // SET_VRING_BASE
		r, err := ring()
		if err == nil {
			r.next = uint16(le.Uint32(b[4:]))
		}
		return nil, err
	case 9: // SET_VRING_ADDR
		r, err := ring()
		if err != nil {
			return nil, err
		}
		at := func(offset int, size uint32) []byte { return d.user(le.Uint64(b[offset:]), size) }
		r.desc, r.used, r.avail = at(8, 16*r.size), at(16, 6+8*r.size), at(24, 6+2*r.size)
		if r.desc == nil || r.used == nil || r.avail == nil {
			return nil, fmt.Errorf("a ring outside of the memory")
		}
		return nil, nil
	case 11: // GET_VRING_BASE: the ring is stopped
		r, err := ring()
		if err != nil {
			return nil, err
		}
		r.desc = nil
		return append(append([]byte(nil), b[:4]...), byte(r.next), byte(r.next>>8), 0, 0), nil
	case 12: // SET_VRING_KICK
		if _, err := ring(); err != nil || len(fds) != 1 {
			return nil, fmt.Errorf("a kick without its descriptor: %v", err)
		}
		go d.kicks(os.NewFile(uintptr(fds[0]), "kick"))
		return nil, nil
	case 13: // SET_VRING_CALL
		r, err := ring()
		if err == nil && len(fds) == 1 {
			r.call = fds[0]
		}
		return nil, err
	}
	return nil, nil // SET_OWNER, SET_FEATURES and the like
}

// memory maps the guest's (SET_MEM_TABLE).
func (d *vsockDevice) memory(b []byte, fds []int) error {
	d.regions = nil
	for i, fd := range fds {
		at := b[8+32*i:]
		r := vhostRegion{guest: le.Uint64(at), size: le.Uint64(at[8:]), user: le.Uint64(at[16:])}
		offset := le.Uint64(at[24:])
		all, err := unix.Mmap(fd, 0, int(offset+r.size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		unix.Close(fd)
		if err != nil {
			return err
		}
		r.bytes = all[offset:]
		d.regions = append(d.regions, r)
	}
	return nil
}

// user and guest give memory by QEMU's address and by the guest's.
func (d *vsockDevice) user(a uint64, size uint32) []byte {
	for _, r := range d.regions {
		if a >= r.user && a+uint64(size) <= r.user+r.size {
			return r.bytes[a-r.user:][:size]
		}
	}
	return nil
}

func (d *vsockDevice) guest(a uint64, size uint32) []byte {
	for _, r := range d.regions {
		if a >= r.guest && a+uint64(size) <= r.guest+r.size {
			return r.bytes[a-r.guest:][:size]
		}
	}
	return nil
}

// kicks waits for the guest's.
func (d *vsockDevice) kicks(f *os.File) {
	defer f.Close()
	var b [8]byte
	for {
		if _, err := f.Read(b[:]); err != nil {
			return
		}
		d.mu.Lock()
		d.receive()
		d.more.Broadcast() // there may be buffers again
		d.mu.Unlock()
	}
}

// take takes a chain of buffers off a ring.
func (d *vsockDevice) take(r *ring) (head uint16, parts [][]byte, ok bool) {
	if r.desc == nil || r.next == le.Uint16(r.avail[2:]) {
		return 0, nil, false
	}
	head = le.Uint16(r.avail[4+2*(uint32(r.next)%r.size):])
	r.next++
	for i, n := uint32(head), 0; n < 16; n++ {
		desc := r.desc[16*i:]
		parts = append(parts, d.guest(le.Uint64(desc), le.Uint32(desc[8:])))
		if le.Uint16(desc[12:])&descNext == 0 {
			break
		}
		i = uint32(le.Uint16(desc[14:])) % r.size
	}
	return head, parts, true
}

// give returns it, with what was written, and interrupts the guest.
func (d *vsockDevice) give(r *ring, head uint16, written int) {
	i := le.Uint16(r.used[2:])
	at := r.used[4+8*(uint32(i)%r.size):]
	le.PutUint32(at, uint32(head))
	le.PutUint32(at[4:], uint32(written))
	le.PutUint16(r.used[2:], i+1)
	_, _ = unix.Write(r.call, []byte{1, 0, 0, 0, 0, 0, 0, 0})
}
