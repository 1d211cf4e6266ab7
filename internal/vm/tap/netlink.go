package tap

import (
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// conn is a socket of rtnetlink(7): one request at a time, each with an
// acknowledgement.
type conn struct {
	fd  int
	seq uint32
}

func dial() (*conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("netlink socket: %w", err)
	}
	return &conn{fd: fd}, nil
}

func (c *conn) close() { unix.Close(c.fd) }

// request sends one message and reads its acknowledgement.
func (c *conn) request(kind, flags uint16, body []byte) error {
	c.seq++
	msg := make([]byte, unix.SizeofNlMsghdr, unix.SizeofNlMsghdr+len(body))
	binary.NativeEndian.PutUint32(msg[0:], uint32(unix.SizeofNlMsghdr+len(body)))
	binary.NativeEndian.PutUint16(msg[4:], kind)
	binary.NativeEndian.PutUint16(msg[6:], unix.NLM_F_REQUEST|unix.NLM_F_ACK|flags)
	binary.NativeEndian.PutUint32(msg[8:], c.seq)
	msg = append(msg, body...)
	if err := unix.Sendto(c.fd, msg, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	var buf [8192]byte
	n, _, err := unix.Recvfrom(c.fd, buf[:], 0)
	if err != nil {
		return err
	}
	if n < unix.SizeofNlMsghdr+4 || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR {
		return errors.New("netlink: no acknowledgement")
	}
	if errno := int32(binary.NativeEndian.Uint32(buf[unix.SizeofNlMsghdr:])); errno != 0 {
		return unix.Errno(-errno)
	}
	return nil
}

// attr appends a route attribute, padded.
func attr(b []byte, kind uint16, data []byte) []byte {
	var head [4]byte
	binary.NativeEndian.PutUint16(head[0:], uint16(4+len(data)))
	binary.NativeEndian.PutUint16(head[2:], kind)
	b = append(append(b, head[:]...), data...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func u32(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// setUp is RTM_NEWLINK with IFF_UP.
func (c *conn) setUp(index, mtu int) error {
	b := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], unix.IFF_UP)
	binary.NativeEndian.PutUint32(b[12:], unix.IFF_UP)
	if mtu > 0 {
		b = attr(b, unix.IFLA_MTU, u32(uint32(mtu)))
	}
	return c.request(unix.RTM_NEWLINK, 0, b)
}

// Attributes of linux/pkt_sched.h, pkt_cls.h and tc_act/tc_mirred.h.
const (
	tcaKind    = 1
	tcaOptions = 2

	u32Sel  = 5
	u32Act  = 7
	allAct  = 2 // TCA_MATCHALL_ACT
	actKind = 1
	actOpts = 2

	mirredParms   = 2
	egressRedir   = 1
	actStolen     = 4
	selTerminal   = 1 // TC_U32_TERMINAL
	ingressParent = 0xfffffff1
	ingressHandle = 0xffff0000
)

// tcmsg is struct tcmsg of linux/rtnetlink.h.
func tcmsg(index int, handle, parent, info uint32) []byte {
	b := make([]byte, 20)
	binary.NativeEndian.PutUint32(b[4:], uint32(index))
	binary.NativeEndian.PutUint32(b[8:], handle)
	binary.NativeEndian.PutUint32(b[12:], parent)
	binary.NativeEndian.PutUint32(b[16:], info)
	return b
}

// ingress makes the ingress queue anew: the rules of an earlier VM in this
// namespace, which was killed, would lead to a tap that is gone.
func (c *conn) ingress(index int) error {
	c.noIngress(index)
	b := attr(tcmsg(index, ingressHandle, ingressParent, 0), tcaKind, []byte("ingress\x00"))
	return c.request(unix.RTM_NEWQDISC, unix.NLM_F_CREATE|unix.NLM_F_EXCL, b)
}

// noIngress removes the queue with its rules, if there is one.
func (c *conn) noIngress(index int) {
	b := attr(tcmsg(index, ingressHandle, ingressParent, 0), tcaKind, []byte("ingress\x00"))
	_ = c.request(unix.RTM_DELQDISC, 0, b)
}

// redirect adds a filter for every frame: matchall where the kernel has it,
// else u32 with an empty key.
func (c *conn) redirect(from, to int) error {
	// Priority 1, protocol ETH_P_ALL in network order.
	info := uint32(1)<<16 | unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8
	head := tcmsg(from, 0, ingressHandle, info)
	all := attr(append([]byte(nil), head...), tcaKind, []byte("matchall\x00"))
	all = attr(all, tcaOptions, attr(nil, allAct, mirred(to)))
	err := c.request(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL, all)
	if err != unix.ENOENT && err != unix.EINVAL {
		return err
	}
	// struct tc_u32_sel with one struct tc_u32_key whose mask is 0.
	sel := make([]byte, 16+16)
	sel[0], sel[2] = selTerminal, 1
	opts := attr(attr(nil, u32Sel, sel), u32Act, mirred(to))
	one := attr(append([]byte(nil), head...), tcaKind, []byte("u32\x00"))
	one = attr(one, tcaOptions, opts)
	return c.request(unix.RTM_NEWTFILTER, unix.NLM_F_CREATE|unix.NLM_F_EXCL, one)
}

// mirred is an action list with one action: redirect to the egress of an
// interface. struct tc_mirred is index, capab, action, refcnt, bindcnt,
// eaction, ifindex.
func mirred(to int) []byte {
	parms := make([]byte, 28)
	binary.NativeEndian.PutUint32(parms[8:], actStolen)
	binary.NativeEndian.PutUint32(parms[20:], egressRedir)
	binary.NativeEndian.PutUint32(parms[24:], uint32(to))
	act := attr(nil, actKind, []byte("mirred\x00"))
	act = attr(act, actOpts, attr(nil, mirredParms, parms))
	return attr(nil, 1, act) // the first of the list
}
