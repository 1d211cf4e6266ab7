package vsock

import (
	"bytes"
	"context"
	"io"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentconn"
)

// A session over vsock, both ends on this host by its loopback, the guest's as the
// agent has it: more than a window each way.
func TestSession(t *testing.T) {
	const port = 10240
	l, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skip("this host has no vsock: modprobe vsock_loopback")
	}
	defer unix.Close(l)
	if err := unix.Bind(l, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: port}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(l, 1); err != nil {
		t.Fatal(err)
	}
	conn, err := Dial(unix.VMADDR_CID_LOCAL, port)
	if err != nil {
		t.Skip("this host has no vsock loopback: modprobe vsock_loopback: " + err.Error())
	}
	fd, _, err := unix.Accept4(l, unix.SOCK_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		s, err := agentconn.Accept(os.NewFile(uintptr(fd), "vsock"), false)
		if err != nil {
			t.Error(err)
			return
		}
		c, err := s.Take(context.Background(), 1)
		if err != nil {
			t.Error(err)
			return
		}
		b, _ := io.ReadAll(c)
		c.Write(b)
		c.Close()
	}()
	defer time.AfterFunc(time.Minute, func() { conn.Close() }).Stop()
	host, err := agentconn.Connect(conn)
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	_, stream, err := host.Stream()
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	if _, err := stream.Write(big); err != nil {
		t.Fatal(err)
	}
	stream.Close()
	if got, err := io.ReadAll(stream); err != nil || !bytes.Equal(got, big) {
		t.Fatalf("%d bytes, want %d: %v", len(got), len(big), err)
	}
}
