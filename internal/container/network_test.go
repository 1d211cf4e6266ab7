package container

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// newNetns makes a network namespace with one end of a veth pair, as a CNI
// plugin would, and gives it open.
func newNetns(t *testing.T) *os.File {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes a network namespace")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("missing: ip; apt-get install iproute2")
	}
	type made struct {
		ns  *os.File
		out []byte
		err error
	}
	ch := make(chan made)
	go func() {
		runtime.LockOSThread() // the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			ch <- made{err: err}
			return
		}
		ns, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			ch <- made{err: err}
			return
		}
		script := "ip link add eth0 type veth peer name far && ip link set eth0 mtu 1400 && ip addr add 10.9.0.2/24 dev eth0 &&" +
			"ip link set lo up && ip link set eth0 up && ip link set far up && ip route add default via 10.9.0.1"
		out, err := exec.Command("sh", "-c", script).CombinedOutput()
		ch <- made{ns, out, err}
	}()
	m := <-ch
	if m.err != nil {
		t.Skipf("this host lets no veth pair be made: %v: %s", m.err, m.out)
	}
	t.Cleanup(func() { m.ns.Close() })
	return m.ns
}

func TestCollectNetwork(t *testing.T) {
	ns := newNetns(t)
	collect := func() (*wire.Network, []int) {
		var fds []int
		net, err := inNetNS(ns, func() (net *wire.Network, err error) {
			net, fds, err = collectNetwork()
			return net, err
		})
		if err != nil {
			t.Fatal(err)
		}
		return net, fds
	}
	net, fds := collect()
	defer func() {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}()
	var eth *wire.NetInterface
	for i := range net.Interfaces {
		if net.Interfaces[i].Name == "eth0" {
			eth = &net.Interfaces[i]
		}
		if net.Interfaces[i].Name == "lo" {
			t.Error("loopback was taken over")
		}
	}
	if net.Mode != wire.NetworkPacket || eth == nil {
		t.Fatalf("%+v", net)
	}
	if eth.MTU != 1400 || len(eth.MAC) != 17 || len(eth.Addrs) != 1 || eth.Addrs[0] != "10.9.0.2/24" || eth.FD >= len(fds) {
		t.Errorf("eth0: %+v", eth)
	}
	var def, link bool
	for _, r := range net.Routes {
		def = def || r.Dst == "0.0.0.0/0" && r.Gateway == "10.9.0.1" && r.Interface == eth.Index
		link = link || r.Dst == "10.9.0.0/24" && r.Gateway == "" && r.Scope == unix.RT_SCOPE_LINK
	}
	if !def || !link {
		t.Errorf("routes: %+v", net.Routes)
	}
	// The host no longer takes packets for the address, and still shows it; a
	// second container in the namespace finds all of it again.
	out, err := inNetNS(ns, func() (string, error) {
		raw, err := exec.Command("sh", "-c", "ip addr show eth0; ip route show table local").CombinedOutput()
		return string(raw), err
	})
	if err != nil || !strings.Contains(out, "inet 10.9.0.2/24") || strings.Contains(out, "local 10.9.0.2 ") {
		t.Errorf("afterwards: %v\n%s", err, out)
	}
	again, more := collect()
	for _, fd := range more {
		unix.Close(fd)
	}
	if len(again.Interfaces) != len(net.Interfaces) || len(again.Routes) != len(net.Routes) {
		t.Errorf("a second time: %+v", again)
	}
}
