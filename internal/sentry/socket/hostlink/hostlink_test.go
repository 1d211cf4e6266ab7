package hostlink_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/socket/netns"
	"bulkhead.dev/bulkhead/internal/sentry/socket/sockettest"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"bulkhead.dev/bulkhead/internal/wire"
	"golang.org/x/sys/unix"
)

// inNS runs f on a thread of namespace name; the thread ends with it.
func inNS(t *testing.T, name string, f func() error) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		ns, err := os.Open("/run/netns/" + name)
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatalf("in %s: %v", name, err)
	}
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
}

const (
	hostIP  = "10.201.7.1"
	guestIP = "10.201.7.2"
)

// setUp makes two namespaces joined by a veth pair: the test is a neighbour in
// one, and the stack takes over the interface in the other.
func setUp(t *testing.T) (neighbour string, n *netns.Namespace) {
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("missing: ip; apt-get install iproute2")
	}
	if err := exec.Command("ip", "netns", "add", fmt.Sprintf("bhl%dc", os.Getpid())).Run(); err != nil {
		t.Skip("this host lets root make no network namespace by ip netns add")
	}
	a, b := fmt.Sprintf("bhl%da", os.Getpid()), fmt.Sprintf("bhl%db", os.Getpid())
	ip(t, fmt.Sprintf("netns del bhl%dc", os.Getpid()))
	for _, ns := range []string{a, b} {
		ip(t, "netns add "+ns)
		t.Cleanup(func() { exec.Command("ip", "netns", "del", ns).Run() })
	}
	ip(t, "-n "+a+" link add eth0 mtu 1400 type veth peer name eth0 netns "+b)
	ip(t, "-n "+b+" link set eth0 mtu 1400")
	ip(t, "-n "+b+" addr add "+hostIP+"/24 dev eth0")
	ip(t, "-n "+b+" -6 addr add fd00:7::1/64 dev eth0 nodad")
	ip(t, "-n "+a+" link set eth0 up")
	ip(t, "-n "+b+" link set eth0 up")

	cfg := &wire.Network{Mode: wire.NetworkPacket}
	var fd int
	inNS(t, a, func() error {
		ifc, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		cfg.Interfaces = []wire.NetInterface{{
			Name: "eth0", Index: ifc.Index, MTU: ifc.MTU, MAC: ifc.HardwareAddr.String(),
			Addrs: []string{guestIP + "/24", "fd00:7::2/64"},
		}}
		cfg.Routes = []wire.NetRoute{
			{Dst: "0.0.0.0/0", Gateway: hostIP, Interface: ifc.Index},
			{Dst: "10.201.7.0/24", Src: guestIP, Interface: ifc.Index},
			{Dst: "fd00:7::/64", Interface: ifc.Index},
		}
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: 0x0300, Ifindex: ifc.Index})
	})
	n = netns.New()
	if err := n.Start(cfg, netns.FromFDs([]int{fd})); err != nil {
		t.Fatal(err)
	}
	st, _ := n.Inet()
	t.Cleanup(st.Close)
	return b, n
}

// call repeats f on events of s until it need not wait.
func call(t *testing.T, what string, s socket.Socket, mask uint32, f func() abi.Errno) {
	t.Helper()
	l := sockettest.NewListener()
	e := waiter.Entry{Listener: l}
	s.Queue(nil).Register(&e, mask)
	defer s.Queue(nil).Unregister(&e)
	for {
		switch e := f(); e {
		case 0:
			return
		case unix.EAGAIN, unix.EINPROGRESS:
			l.Wait()
		default:
			t.Fatalf("%s: %v", what, e)
		}
	}
}

func addr(t *testing.T, s string) []byte {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", s)
	if err != nil {
		t.Fatal(err)
	}
	out := abi.SockaddrIn6{Port: uint16(a.Port)}
	if v4 := a.IP.To4(); v4 != nil {
		out.Is4 = true
		copy(out.Addr[:], v4)
	} else {
		copy(out.Addr[:], a.IP)
	}
	return out.Append(nil)
}

func TestNeighbours(t *testing.T) {
	ns, n := setUp(t)
	c := sockettest.Root()

	// The guest calls a neighbour.
	for _, tc := range []struct {
		family       int
		listen, dial string
	}{
		{unix.AF_INET, hostIP + ":8001", hostIP + ":8001"},
		{unix.AF_INET6, "[fd00:7::1]:8002", "[fd00:7::1]:8002"},
	} {
		var ln net.Listener
		inNS(t, ns, func() (err error) { ln, err = net.Listen("tcp", tc.listen); return err })
		go func() {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			io.Copy(conn, conn)
			conn.Close()
		}()
		s, e := n.Socket(c, tc.family, unix.SOCK_STREAM, 0)
		if e != 0 {
			t.Fatal(e)
		}
		if _, e := s.Connect(c, addr(t, tc.dial)); e != unix.EINPROGRESS {
			t.Fatalf("connect: %v", e)
		}
		call(t, "connect", s, waiter.Out, func() abi.Errno { return s.ConnectResult(c) })
		const total = 1 << 20
		sent := 0
		got := 0
		for got < total {
			for sent < total {
				k, e := s.SendMsg(c, &socket.Msg{Data: make([]byte, min(16384, total-sent))}, 0)
				if e != 0 {
					break
				}
				sent += k
			}
			if sent == total {
				s.Shutdown(c, unix.SHUT_WR)
			}
			call(t, "echo", s, waiter.In|waiter.Out, func() abi.Errno {
				k, e := s.RecvMsg(c, &socket.Msg{Data: make([]byte, 65536)}, 0)
				got += k
				if e == unix.EAGAIN && sent < total {
					return 0
				}
				return e
			})
		}
		s.Release(nil)
		ln.Close()
	}

	// A neighbour calls the guest.
	srv, _ := n.Socket(c, unix.AF_INET, unix.SOCK_STREAM, 0)
	if e := srv.Bind(c, addr(t, "0.0.0.0:80")); e != 0 {
		t.Fatal(e)
	}
	srv.Listen(c, 5)
	var conn net.Conn
	inNS(t, ns, func() (err error) {
		conn, err = net.DialTimeout("tcp", guestIP+":80", 10*time.Second)
		return err
	})
	var acc socket.Socket
	call(t, "accept", srv, waiter.In, func() (e abi.Errno) { acc, e = srv.Accept(c); return e })
	acc.SendMsg(c, &socket.Msg{Data: []byte("welcome")}, 0)
	acc.Shutdown(c, unix.SHUT_WR)
	if b, err := io.ReadAll(conn); err != nil || string(b) != "welcome" {
		t.Errorf("%q, %v", b, err)
	}
	if out, err := exec.Command("ip", "netns", "exec", ns, "ping", "-c", "1", "-W", "5", guestIP).CombinedOutput(); err != nil {
		if _, missing := exec.LookPath("ping"); missing == nil {
			t.Errorf("ping: %v\n%s", err, out)
		}
	}
}
