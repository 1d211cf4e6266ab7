package tap

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// In a namespace of its own: a frame that comes to the interface is read from
// the tap, and one written to the tap leaves by the interface.
func TestAttach(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("missing: ip; apt-get install iproute2")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			t.Error(err)
			return
		}
		attach(t)
	}()
	<-done
}

func attach(t *testing.T) {
	for _, args := range [][]string{
		{"link", "add", "veth0", "type", "veth", "peer", "name", "veth1"},
		{"link", "set", "veth0", "up"}, {"link", "set", "veth1", "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Errorf("ip %v: %v: %s", args, err, out)
			return
		}
	}
	f, err := Open("bhtest0")
	if err != nil {
		t.Errorf("%v", err)
		return
	}
	defer f.Close()
	index, err := linkIndex("veth0")
	if err != nil {
		t.Error(err)
		return
	}
	// One that was killed has left rules that lead nowhere.
	stale, err := Open("bhtest1")
	if err != nil {
		t.Error(err)
		return
	}
	err = Attach("bhtest1", index, 0)
	stale.Close()
	if err == nil {
		err = Attach("bhtest0", index, 1400)
	}
	if err != nil {
		t.Error(err)
		return
	}
	link, err := net.InterfaceByName("bhtest0")
	if err != nil || link.MTU != 1400 || link.Flags&net.FlagUp == 0 {
		t.Errorf("%+v %v", link, err)
	}
	peer, err := linkIndex("veth1")
	if err != nil {
		t.Error(err)
		return
	}
	exchange(t, f, peer)
}

// frame is an Ethernet frame of an experimental type (IEEE 802, 0x88b5).
func frame(mark byte) []byte {
	b := make([]byte, 64)
	copy(b, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, mark, 0x88, 0xb5, mark})
	return b
}

func exchange(t *testing.T, f *os.File, peer int) {
	const proto = 0xb588 // 0x88b5 in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: proto, Ifindex: peer}); err != nil {
		t.Error(err)
		return
	}
	tv := unix.Timeval{Sec: 10}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
		t.Error(err)
		return
	}
	// Ten bytes of struct virtio_net_hdr go before a frame at the tap.
	if _, err := f.Write(append(make([]byte, 10), frame(1)...)); err != nil {
		t.Errorf("writing to the tap: %v", err)
		return
	}
	buf := make([]byte, 2048)
	if n, _, err := unix.Recvfrom(fd, buf, 0); err != nil || n < 15 || buf[14] != 1 {
		t.Errorf("from the tap to the interface: %d bytes, %v", n, err)
	}
	if _, err := unix.Write(fd, frame(2)); err != nil {
		t.Error(err)
		return
	}
	for range 100 { // others may be there first: neighbour discovery
		n, err := f.Read(buf)
		if err != nil {
			t.Errorf("reading the tap: %v", err)
			return
		}
		if n >= 25 && buf[22] == 0x88 && buf[23] == 0xb5 && buf[24] == 2 {
			return
		}
	}
	t.Error("the frame did not come to the tap")
}
