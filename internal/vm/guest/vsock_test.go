//go:build vm

package guest

import (
	"strings"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/wire/agentconn"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// TestVsock reaches the agent by vsock and runs containers over it: the guest has
// no serial port, and the host's side of the device is this test's.
func TestVsock(t *testing.T) {
	root := busybox(t)
	_, _, initramfs := artifacts(t)
	d, device := newVsockDevice(t)
	v := launch(t, initramfs, " bulkhead.channel=vsock ", append(device, rootDisk(t, root, Erofs)...)...)
	var s *vsockStream
	for deadline := time.Now().Add(90 * time.Second); s == nil; time.Sleep(5 * time.Millisecond) {
		if s = d.dial(agentpb.VsockPort); s == nil && time.Now().After(deadline) {
			t.Fatal("nobody has listened on the agent's port")
		}
	}
	timer := time.AfterFunc(90*time.Second, func() { s.Close() })
	var err error
	if v.Conn, err = agentconn.Connect(s); err != nil {
		t.Fatalf("the agent did not answer: %v", err)
	}
	timer.Stop()
	t.Logf("hello after %v", time.Since(v.started))
	if r := v.run(t, "hello", config(Erofs, "echo", "hello"), ""); r.out != "hello\n" || r.status != 0 {
		t.Errorf("%+v", r)
	}
	in := strings.Repeat("0123456789abcdef", 1<<16) // more than any buffer on the way
	if r := v.run(t, "cat", config(Erofs, "cat"), in); r.out != in {
		t.Errorf("cat gave %d bytes of %d", len(r.out), len(in))
	}
	if r := v.run(t, "both", config(Erofs, "sh", "-c", "echo out; echo err >&2; exit 7"), ""); r.out != "out\n" || r.err != "err\n" || r.status.ExitStatus() != 7 {
		t.Errorf("%+v", r)
	}
	v.Conn.Close() // the end of the channel is the end of the VM
	v.wantEnd(t, "without its channel")
}
