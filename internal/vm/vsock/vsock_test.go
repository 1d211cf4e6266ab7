package vsock

import (
	"os"
	"strings"
	"testing"
)

// Two VMs have two addresses; a host without the device says what brings it.
func TestOpen(t *testing.T) {
	a, err := Open()
	if _, missing := os.Stat(Device); missing != nil {
		if err == nil || !strings.Contains(err.Error(), "modprobe vhost_vsock") {
			t.Errorf("without %s: %v", Device, err)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	defer a.FD.Close()
	b, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer b.FD.Close()
	if a.CID == b.CID || a.CID < firstCID {
		t.Errorf("addresses %d and %d", a.CID, b.CID)
	}
}

// Nobody is there: an error, and no descriptor left.
func TestDialNobody(t *testing.T) {
	before := descriptors(t)
	if c, err := Dial(1<<30, 1); err == nil { // the kernel gives up after two seconds
		t.Errorf("a connection to nobody: %v", c)
	}
	if after := descriptors(t); after != before {
		t.Errorf("%d descriptors, before %d", after, before)
	}
}

func descriptors(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
