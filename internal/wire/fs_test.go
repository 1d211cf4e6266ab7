package wire

import (
	"testing"

	"golang.org/x/sys/unix"
)

func TestFSRoundTrip(t *testing.T) {
	e := NewEncoder()
	e.Request(FSSetAttr, 3, 0x1234)
	e.Near(1)
	e.Str("a/b")
	attr := FSAttr{Mode: 1, Nlink: 2, UID: 3, GID: 4, Ino: 5 << 40, Dev: 6, Rdev: 7, Size: 8 << 40, Blocks: 9, Blksize: 10, Atime: -1, Mtime: 12, Ctime: 13, Btime: 14}
	e.Attr(&attr)
	args := FSSetAttrArgs{Mask: 1, Mode: 2, UID: 3, GID: 4, Size: 5, Atime: -6, Mtime: 7}
	e.SetAttr(&args)
	head := FSListHeader{Next: 1 << 60, Done: true, Count: 7}
	at := len(e.B)
	e.ListHeader(FSListHeader{})
	e.PutListHeader(at, head)
	e.Bytes([]byte("value"))
	if e.Full {
		t.Fatal("the message is full")
	}
	d := Decoder{B: e.B}
	if op, flags, mount, near := d.Header(); op != FSSetAttr || flags != 3 || mount != 0x1234 || near != 2 {
		t.Errorf("header: %v %v %#x", op, flags, mount)
	}
	if s := string(d.Str()); s != "a/b" {
		t.Errorf("string: %q", s)
	}
	var a FSAttr
	if d.Attr(&a); a != attr {
		t.Errorf("attributes: %+v", a)
	}
	var g FSSetAttrArgs
	if d.SetAttr(&g); g != args {
		t.Errorf("arguments: %+v", g)
	}
	if h := d.ListHeader(); h != head {
		t.Errorf("list header: %+v", h)
	}
	if b := string(d.Bytes()); b != "value" || d.Bad || len(d.B) != 0 {
		t.Errorf("bytes: %q, bad %v, %d bytes left", b, d.Bad, len(d.B))
	}
}

// TestFSEncoderStaysWithinAMessage holds that an encoder never grows.
func TestFSEncoderStaysWithinAMessage(t *testing.T) {
	e := NewEncoder()
	e.Request(FSStat, 0, 0)
	for range 10000 {
		e.Attr(&FSAttr{})
		e.Str("name")
	}
	if !e.Full || len(e.B) > MaxFSMessage {
		t.Errorf("full %v with %d bytes", e.Full, len(e.B))
	}
}

func TestFSConnPassesDescriptors(t *testing.T) {
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	a, b := NewFSConn(p[0]), NewFSConn(p[1])
	defer b.Close()
	for _, fd := range []int{-1, p[1]} {
		if err := a.Send([]byte("x"), fd); err != nil {
			t.Fatal(err)
		}
		m, got, err := b.Receive()
		if err != nil || string(m) != "x" || (got >= 0) != (fd >= 0) {
			t.Errorf("message %q, descriptor %d, %v", m, got, err)
		}
		if got >= 0 {
			unix.Close(got)
		}
	}
	msg := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() {
		a.Send(msg, -1)
		b.Receive()
	}); n != 0 {
		t.Errorf("a message allocates %v times", n)
	}
	a.Close()
	if m, _, err := b.Receive(); m != nil || err != nil {
		t.Errorf("after the end: %q, %v", m, err)
	}
}

// FuzzFSDecoder reads any bytes as any message: it must end, without a panic.
func FuzzFSDecoder(f *testing.F) {
	e := NewEncoder()
	e.Request(FSList, 0, 0)
	e.Str("a/b")
	e.Attr(&FSAttr{})
	f.Add(e.B)
	f.Fuzz(func(t *testing.T, b []byte) {
		d := Decoder{B: b}
		d.Header()
		for !d.Bad && len(d.B) > 0 {
			before := len(d.B)
			var a FSAttr
			var s FSSetAttrArgs
			var st FSStatfsReply
			switch d.U8() % 8 {
			case 0:
				d.Str()
			case 1:
				d.Bytes()
			case 2:
				d.Attr(&a)
			case 3:
				d.SetAttr(&s)
			case 4:
				d.Statfs(&st)
			case 5:
				d.ListHeader()
			case 6:
				d.U64()
			}
			if len(d.B) >= before {
				t.Fatal("no bytes were taken")
			}
		}
	})
}
