package netlink_test

import (
	"encoding/binary"
	"syscall"
	"testing"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"bulkhead.dev/bulkhead/internal/sentry/socket/netns"
	"bulkhead.dev/bulkhead/internal/sentry/socket/sockettest"
	"golang.org/x/sys/unix"
)

var le = binary.LittleEndian

func request(typ, flags uint16, seq uint32, body []byte) []byte {
	b := le.AppendUint32(nil, uint32(16+len(body)))
	b = le.AppendUint16(b, typ)
	b = le.AppendUint16(b, flags|unix.NLM_F_REQUEST)
	b = le.AppendUint32(b, seq)
	b = le.AppendUint32(b, 0)
	return append(b, body...)
}

func ask(t *testing.T, c *sockettest.Caller, s socket.Socket, req []byte) (out []syscall.NetlinkMessage) {
	t.Helper()
	if _, e := s.SendMsg(c, &socket.Msg{Data: req}, 0); e != 0 {
		t.Fatal(e)
	}
	for {
		m := &socket.Msg{Data: make([]byte, 32<<10)}
		n, e := s.RecvMsg(c, m, 0)
		if e == unix.EAGAIN {
			return out
		}
		if e != 0 {
			t.Fatal(e)
		}
		msgs, err := syscall.ParseNetlinkMessage(m.Data[:n])
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, msgs...)
	}
}

func open(t *testing.T, c *sockettest.Caller) socket.Socket {
	t.Helper()
	s, e := netns.New().Socket(c, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	if e != 0 {
		t.Fatal(e)
	}
	return s
}

func attr(t *testing.T, m syscall.NetlinkMessage, typ uint16) []byte {
	t.Helper()
	as, err := syscall.ParseNetlinkRouteAttr(&m)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range as {
		if a.Attr.Type == typ {
			return a.Value
		}
	}
	t.Fatalf("message %d has no attribute %d", m.Header.Type, typ)
	return nil
}

func TestDumps(t *testing.T) {
	c := sockettest.User(1000, 42)
	s := open(t, c)
	links := ask(t, c, s, request(unix.RTM_GETLINK, unix.NLM_F_DUMP, 7, make([]byte, 16)))
	if len(links) != 2 || links[0].Header.Type != unix.RTM_NEWLINK || links[1].Header.Type != unix.NLMSG_DONE || links[0].Header.Seq != 7 || links[0].Header.Pid != 42 {
		t.Fatalf("%+v", links)
	}
	if name := attr(t, links[0], unix.IFLA_IFNAME); string(name) != "lo\x00" {
		t.Errorf("name %q", name)
	}
	addrs := ask(t, c, s, request(unix.RTM_GETADDR, unix.NLM_F_DUMP, 8, make([]byte, 8)))
	if len(addrs) != 3 {
		t.Fatalf("%d messages", len(addrs))
	}
	if a := attr(t, addrs[0], unix.IFA_LOCAL); string(a) != "\x7f\x00\x00\x01" {
		t.Errorf("address %v", a)
	}
	if addrs[1].Data[0] != unix.AF_INET6 || addrs[1].Data[1] != 128 {
		t.Errorf("second address %v", addrs[1].Data)
	}
	v4 := ask(t, c, s, request(unix.RTM_GETADDR, unix.NLM_F_DUMP, 8, []byte{unix.AF_INET, 0, 0, 0, 0, 0, 0, 0}))
	if len(v4) != 2 {
		t.Errorf("%d messages of IPv4", len(v4))
	}
	routes := ask(t, c, s, request(unix.RTM_GETROUTE, unix.NLM_F_DUMP, 9, make([]byte, 12)))
	if len(routes) != 3 {
		t.Errorf("%d routes", len(routes)-1)
	}
}

func errorOf(t *testing.T, ms []syscall.NetlinkMessage) abi.Errno {
	t.Helper()
	if len(ms) != 1 || ms[0].Header.Type != unix.NLMSG_ERROR {
		t.Fatalf("%+v", ms)
	}
	return abi.Errno(-int32(le.Uint32(ms[0].Data)))
}

func TestChanges(t *testing.T) {
	body := []byte{unix.AF_INET, 24, 0, 0, 1, 0, 0, 0, 8, 0, unix.IFA_LOCAL, 0, 10, 1, 2, 3}
	u := sockettest.User(1000, 42)
	if e := errorOf(t, ask(t, u, open(t, u), request(unix.RTM_NEWADDR, unix.NLM_F_ACK, 1, body))); e != unix.EPERM {
		t.Errorf("unprivileged: %v", e)
	}
	c := sockettest.Root()
	s := open(t, c)
	for i, want := range []abi.Errno{0, unix.EEXIST} {
		if e := errorOf(t, ask(t, c, s, request(unix.RTM_NEWADDR, unix.NLM_F_ACK|unix.NLM_F_EXCL, 1, body))); e != want {
			t.Errorf("add %d: %v", i, e)
		}
	}
	if n := len(ask(t, c, s, request(unix.RTM_GETADDR, unix.NLM_F_DUMP, 8, make([]byte, 8)))); n != 4 {
		t.Errorf("%d messages", n)
	}
	if e := errorOf(t, ask(t, c, s, request(unix.RTM_DELADDR, unix.NLM_F_ACK, 1, body))); e != 0 {
		t.Errorf("delete: %v", e)
	}
	get := []byte{unix.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, unix.RTA_DST, 0, 192, 0, 2, 1}
	if e := errorOf(t, ask(t, c, s, request(unix.RTM_GETROUTE, 0, 1, get))); e != unix.ENETUNREACH {
		t.Errorf("route: %v", e)
	}
}

func TestRefused(t *testing.T) {
	n, c := netns.New(), sockettest.Root()
	for _, p := range []int{unix.NETLINK_SOCK_DIAG, unix.NETLINK_AUDIT, unix.NETLINK_NETFILTER, 31, 40} {
		if _, e := n.Socket(c, unix.AF_NETLINK, unix.SOCK_RAW, p); e != unix.EPROTONOSUPPORT {
			t.Errorf("protocol %d: %v", p, e)
		}
	}
	for _, f := range []int{unix.AF_PACKET, unix.AF_VSOCK, unix.AF_ALG, 99, -1} {
		if _, e := n.Socket(c, f, unix.SOCK_RAW, 0); e != unix.EAFNOSUPPORT {
			t.Errorf("family %d: %v", f, e)
		}
	}
}

// What is malformed is passed over, and nothing panics.
func FuzzRequests(f *testing.F) {
	f.Add(request(unix.RTM_GETLINK, unix.NLM_F_DUMP, 1, make([]byte, 16)))
	f.Add(request(unix.RTM_NEWADDR, unix.NLM_F_ACK, 1, []byte{2, 24, 0, 0, 1, 0, 0, 0, 8, 0, 2, 0, 10, 1, 2, 3}))
	f.Add(request(unix.RTM_NEWROUTE, unix.NLM_F_ACK, 1, make([]byte, 40)))
	c := sockettest.Root()
	s, _ := netns.New().Socket(c, unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	f.Fuzz(func(t *testing.T, b []byte) {
		s.SendMsg(c, &socket.Msg{Data: b}, 0)
		buf := make([]byte, 1<<20)
		for {
			if _, e := s.RecvMsg(c, &socket.Msg{Data: buf}, 0); e != 0 {
				return
			}
		}
	})
}
