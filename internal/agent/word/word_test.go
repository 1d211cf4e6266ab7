package word

import (
	"io"
	"os"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentconn"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

func TestNames(t *testing.T) {
	if modulesDir != "/"+agentpb.ModulesDir+"/" || modulesIndex != "/"+agentpb.ModulesIndex || version != agentpb.Version ||
		sysFinitModule != unix.SYS_FINIT_MODULE || rateName != agentpb.APICRate || !slices.Equal(groups, []string{agentpb.GroupMMIO, agentpb.GroupBoot}) {
		t.Fatal("this package's names are not those of package agentpb")
	}
	if First.FD != -1 || First.Devices || First.Said {
		t.Fatalf("a process that is not PID 1 has said something: %+v", First)
	}
}

func TestLine(t *testing.T) {
	index := []byte("mmio 0-virtio.ko  1-virtio_ring.ko\nbootx 9.ko\nboot 2-virtio_console.ko\npci\nlast 3.ko")
	for group, want := range map[string][]string{
		"mmio": {"0-virtio.ko", "1-virtio_ring.ko"}, "boot": {"2-virtio_console.ko"}, "last": {"3.ko"}, "pci": nil, "none": nil,
	} {
		if got := line(index, group); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", group, got, want)
		}
	}
}

func TestOnlyPort(t *testing.T) {
	dir := t.TempDir()
	touch := func(name string) {
		if err := os.WriteFile(dir+"/"+name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	touch("null")
	touch("vpor")
	if got := onlyPort(dir); got != "" {
		t.Fatalf("no port: %q", got)
	}
	touch("vport2p1")
	if got := onlyPort(dir); got != "vport2p1" {
		t.Fatalf("one port: %q", got)
	}
	touch("vport2p2")
	if got := onlyPort(dir); got != "" {
		t.Fatalf("two ports: %q", got)
	}
}

// pair is a host's end and a port that does not block.
func pair(t *testing.T) (host *os.File, port int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	host = os.NewFile(uintptr(fds[0]), "host")
	t.Cleanup(func() {
		host.Close()
		syscall.Close(fds[1])
	})
	return host, fds[1]
}

// TestAnswer has the host's own end say hello.
func TestAnswer(t *testing.T) {
	host, port := pair(t)
	done := make(chan error, 1)
	go func() {
		c, err := agentconn.Connect(host)
		if err == nil {
			c.Close()
		}
		done <- err
	}()
	g := Greeting{FD: port}
	for !g.Said && len(g.Pending) == 0 { // the host may be late
		g.answer()
	}
	if !g.Said {
		t.Fatalf("%+v", g)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestNoAnswer leaves to the agent what is no Hello of this version.
func TestNoAnswer(t *testing.T) {
	for _, said := range []string{"", "BULK", "staleBULKHEAD\x01\x00", "BULKHEAD\x02\x00\x00\x00\x01\x02\x03\x04", "BULKHEAD\x01\x01\x00\x00\x01\x02\x03\x04"} {
		host, port := pair(t)
		if _, err := io.WriteString(host, said); err != nil {
			t.Fatal(err)
		}
		g := Greeting{FD: port}
		g.answer()
		if g.Said || string(g.Pending) != said[:min(len(said), helloSize)] {
			t.Errorf("%q: %+v", said, g)
		}
	}
}

// TestAnswerTimers has the host told of timers that are wrong.
func TestAnswerTimers(t *testing.T) {
	host, port := pair(t)
	told := make(chan bool, 1)
	go func() {
		c, err := agentconn.NewGreeter(host, func() bool { told <- true; return false }).Connect()
		if err != nil {
			t.Error(err)
			told <- false
			return
		}
		if !c.TimersWrong {
			t.Error("the connection does not say it")
		}
		c.Close()
	}()
	g := Greeting{FD: port, Timers: 1400}
	for !g.Said && len(g.Pending) == 0 {
		g.answer()
	}
	if !<-told {
		t.Fatalf("%+v", g)
	}
}
