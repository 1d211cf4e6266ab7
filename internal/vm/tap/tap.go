// Package tap joins a VM to a network namespace: a tap for each interface, and
// traffic control rules that send what comes in at the one out at the other.
// The host's own stack in that namespace sees none of it, so that it answers
// nothing beside the guest.
//
//	veth ── ingress qdisc: redirect ──▶ tap ──▶ QEMU ──▶ guest
//	veth ◀── redirect: ingress qdisc ── tap ◀── QEMU ◀── guest
//
// Everything is made in the caller's network namespace and goes with it. It
// owns no state.
package tap

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Open makes a tap and opens it. It goes when the descriptor is closed.
func Open(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w (load the module: modprobe tun)", err)
	}
	req, err := unix.NewIfreq(name)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("tap %q: %w", name, err)
	}
	req.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("tap %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// Attach brings a tap up with an MTU and redirects between it and an
// interface, both by their indices.
func Attach(tap string, index, mtu int) error {
	c, err := dial()
	if err != nil {
		return err
	}
	defer c.close()
	peer, err := linkIndex(tap)
	if err != nil {
		return fmt.Errorf("tap %s: %w", tap, err)
	}
	if err := c.setUp(peer, mtu); err != nil {
		return fmt.Errorf("tap %s: bringing it up: %w", tap, err)
	}
	for _, way := range [][2]int{{index, peer}, {peer, index}} {
		if err := c.ingress(way[0]); err != nil {
			return fmt.Errorf("ingress queue of interface %d: %w", way[0], err)
		}
		if err := c.redirect(way[0], way[1]); err != nil {
			return fmt.Errorf("redirecting interface %d to %d: %w (the kernel needs cls_u32 or cls_matchall, and act_mirred)", way[0], way[1], err)
		}
	}
	return nil
}

// Detach takes the rules of an interface away again.
func Detach(index int) {
	c, err := dial()
	if err != nil {
		return
	}
	defer c.close()
	c.noIngress(index)
}

func linkIndex(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req); err != nil {
		return 0, err
	}
	return int(req.Uint32()), nil
}
