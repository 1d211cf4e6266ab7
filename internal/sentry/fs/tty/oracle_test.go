package tty

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
)

// both drives ours and the host's pty alike and compares the answers.
type both struct {
	t    testing.TB
	o    *ours
	h    *hosts
	log  []string
	fail bool
}

func newBoth(t testing.TB) *both {
	return &both{t: t, h: newHosts(t), o: newOurs(t, &caller{table: newTable(), pid: 99, pg: 99, sid: 98}, true)}
}

func (b *both) note(f string, a ...any) { b.log = append(b.log, fmt.Sprintf(f, a...)) }

func (b *both) errorf(f string, a ...any) {
	b.t.Helper()
	tail := b.log
	if len(tail) > 25 {
		tail = tail[len(tail)-25:]
	}
	b.t.Fatalf("%s\nafter:\n%s", fmt.Sprintf(f, a...), lines(tail))
}

func lines(s []string) string {
	var buf bytes.Buffer
	for _, l := range s {
		buf.WriteString("  " + l + "\n")
	}
	return buf.String()
}

func who(master bool) string {
	if master {
		return "master"
	}
	return "slave"
}

func (b *both) write(master bool, s string) {
	b.t.Helper()
	b.note("%s writes %q", who(master), s)
	n, e := b.o.write(master, []byte(s))
	hn, he := b.h.write(master, []byte(s))
	if n != hn || e != he {
		b.errorf("%s write %q: ours %d, %v; host %d, %v", who(master), s, n, e, hn, he)
	}
	// The host passes bytes on in a worker: wait until both sides have as much.
	end := time.Now().Add(500 * time.Millisecond)
	for _, to := range []bool{false, true} {
		b.h.poll()
		for !bytes.Equal(b.waiting(b.o, to), b.waiting(b.h, to)) && time.Now().Before(end) {
			b.h.poll()
			time.Sleep(100 * time.Microsecond)
		}
	}
}

func (b *both) waiting(r rig, master bool) []byte {
	n := word(0)
	r.ioctl(master, unix.TIOCINQ, n)
	return n
}

func (b *both) read(master bool, n int) string {
	b.t.Helper()
	got, e := b.o.read(master, n)
	host, he := b.h.settled(master, n, got, e)
	b.note("%s reads %d: %q %v", who(master), n, got, e)
	if !bytes.Equal(got, host) || e != he {
		b.errorf("%s read of %d: ours %q, %v; host %q, %v", who(master), n, got, e, host, he)
	}
	return string(got)
}

// drain reads all there is.
func (b *both) drain(master bool) {
	b.t.Helper()
	for b.read(master, 4096) != "" {
	}
}

func (b *both) set(mod func(*Termios)) {
	b.t.Helper()
	n := b.o.pair.slave.termios
	mod(&n)
	b.note("settings iflag %#o oflag %#o lflag %#o min %d", n.Iflag, n.Oflag, n.Lflag, n.CC[unix.VMIN])
	enc := n.encode()
	e, he := b.o.ioctl(false, unix.TCSETS2, append([]byte(nil), enc[:]...)), b.h.ioctl(false, unix.TCSETS2, enc[:])
	if e != he {
		b.errorf("TCSETS2: ours %v, host %v", e, he)
	}
	mine, host := make([]byte, termios2Size), make([]byte, termios2Size)
	e, he = b.o.ioctl(false, unix.TCGETS2, mine), b.h.ioctl(false, unix.TCGETS2, host)
	if e != he || !bytes.Equal(mine, host) {
		b.errorf("TCGETS2: ours %v %x, host %v %x", e, mine, he, host)
	}
}

func (b *both) ioctl(master bool, cmd uint32, arg []byte) {
	b.t.Helper()
	b.note("%s ioctl %#x %x", who(master), cmd, arg)
	mine, host := bytes.Clone(arg), bytes.Clone(arg)
	e := b.o.ioctl(master, cmd, mine)
	he := b.h.ioctl(master, cmd, host)
	if e == abi.ENOIOCTLCMD {
		e = unix.ENOTTY
	}
	if e != he || !bytes.Equal(mine, host) {
		b.errorf("%s ioctl %#x %x: ours %v %x, host %v %x", who(master), cmd, arg, e, mine, he, host)
	}
}

func (b *both) ioctlInt(master bool, cmd uint32, arg uint64) {
	b.t.Helper()
	b.note("%s ioctl %#x %d", who(master), cmd, arg)
	e, he := b.o.ioctlInt(master, cmd, arg), b.h.ioctlInt(master, cmd, arg)
	if e == abi.ENOIOCTLCMD {
		e = unix.ENOTTY
	}
	if e != he {
		b.errorf("%s ioctl %#x %d: ours %v, host %v", who(master), cmd, arg, e, he)
	}
}

func TestCookedLines(t *testing.T) {
	b := newBoth(t)
	for _, s := range []string{
		"hello\r", "wrong\x7f\x7fight\n", "two words\x17three\r", "kill\x15all\n", "a\tb\tc\x7f\x7f\x7fd\n",
		"\x16\x03lit\n", "abc\x12def\n", "\x01\x02ctl\x7f\x7f\n", "end\x04", "\x04", "\x1b[A\n", "\xc3\xa9\x7f\n",
		"x\x13y\x11z\n", "one\ntwo\nthree\n", "\xff\xfe\n", "int\x03after\n", "quit\x1cnext\r", "\x1anext\r",
	} {
		b.write(true, s)
		b.drain(true)
		b.read(false, 4096)
		b.read(false, 3)
		b.drain(false)
	}
}

// TestLinePieces reads lines in pieces smaller than they are.
func TestLinePieces(t *testing.T) {
	b := newBoth(t)
	b.write(true, "abcdef\ngh\n\x04ij\x04")
	b.drain(true)
	for range 12 {
		b.read(false, 4)
	}
}

func TestLongLine(t *testing.T) {
	for _, n := range []int{4094, 4095, 4096, 4097, 5000} {
		b := newBoth(t)
		long := string(bytes.Repeat([]byte("x"), n))
		b.set(func(s *Termios) { s.Lflag &^= unix.ECHO })
		for i := 0; i < n; i += 100 {
			b.write(true, long[i:min(n, i+100)])
		}
		b.write(true, "\n")
		b.read(false, 8192)
		b.drain(false)
	}
}

func TestOutput(t *testing.T) {
	b := newBoth(t)
	for _, o := range []uint32{
		0, unix.OPOST, unix.OPOST | unix.ONLCR, unix.OPOST | unix.OCRNL, unix.OPOST | unix.ONOCR,
		unix.OPOST | unix.ONLRET | unix.ONLCR, unix.OPOST | unix.OLCUC, unix.OPOST | xtabs | unix.ONLCR,
	} {
		b.set(func(s *Termios) { s.Oflag = o })
		b.write(false, "abc\tde\nf\rg\b\th\r\n\xe4\x00\x1b[1m\tx\r\r")
		b.drain(true)
	}
}

func TestRawModes(t *testing.T) {
	b := newBoth(t)
	for _, min := range []uint8{0, 1, 3} {
		b.set(func(s *Termios) {
			s.Iflag, s.Lflag = 0, 0
			s.CC[unix.VMIN] = min
		})
		b.read(false, 10)
		b.write(true, "a\x03\r\n")
		b.drain(true)
		b.h.poll()
		b.ioctl(false, unix.TIOCINQ, word(0))
		b.read(false, 2)
		b.read(false, 10)
	}
	// Canonical and back, with bytes in the buffer.
	b.write(true, "left over")
	b.read(false, 1)
	b.set(func(s *Termios) { s.Lflag |= unix.ICANON })
	b.read(false, 100)
	b.write(true, "part")
	b.read(false, 100)
	b.set(func(s *Termios) { s.Lflag &^= unix.ICANON })
	b.read(false, 100)
}

func TestPacketMode(t *testing.T) {
	b := newBoth(t)
	b.ioctl(true, unix.TIOCPKT, word(1))
	b.write(false, "data")
	b.read(true, 100)
	b.read(true, 100)
	b.ioctlInt(false, unix.TCFLSH, unix.TCIFLUSH)
	b.read(true, 100)
	b.ioctlInt(false, unix.TCFLSH, unix.TCIOFLUSH)
	b.read(true, 100)
	b.ioctlInt(false, unix.TCXONC, unix.TCOOFF)
	b.read(true, 100)
	b.ioctlInt(false, unix.TCXONC, unix.TCOON)
	b.read(true, 100)
	b.set(func(s *Termios) { s.Iflag &^= unix.IXON })
	b.read(true, 100)
	b.set(func(s *Termios) { s.Iflag |= unix.IXON; s.Lflag |= unix.EXTPROC })
	b.read(true, 100)
	b.read(true, 100)
}

func TestIoctls(t *testing.T) {
	b := newBoth(t)
	for _, master := range []bool{true, false} {
		b.ioctl(master, unix.TCGETS, make([]byte, 60))
		b.ioctl(master, tcgeta, make([]byte, 30))
		b.ioctl(master, unix.TIOCGWINSZ, make([]byte, 8))
		b.ioctl(master, unix.TIOCSWINSZ, []byte{24, 0, 80, 0, 1, 0, 2, 0})
		b.ioctl(!master, unix.TIOCGWINSZ, make([]byte, 8))
		b.ioctl(master, unix.TIOCGETD, word(7))
		b.ioctl(master, unix.TIOCOUTQ, word(7))
		b.ioctl(master, unix.TIOCINQ, word(7))
		b.ioctl(master, tiocgexcl, word(7))
		b.ioctl(master, unix.TIOCGSOFTCAR, word(7))
		b.ioctl(master, tiocgptlck, word(7))
		b.ioctl(master, tiocgpkt, word(7))
		b.ioctl(master, unix.TIOCGPGRP, word(7))
		b.ioctl(master, tiocgsid, word(7))
		b.ioctlInt(master, unix.TCSBRK, 1)
		b.ioctlInt(master, unix.TCXONC, 9)
		b.ioctlInt(master, unix.TCFLSH, 9)
		b.ioctlInt(master, 0x4B33, 0) // KDGKBTYPE
		b.ioctl(master, unix.TIOCMGET, word(7))
		b.ioctlInt(master, tiocsig, 9)
	}
}

// TestFull fills either direction without a reader.
func TestFull(t *testing.T) {
	b := newBoth(t)
	chunk := bytes.Repeat([]byte("y"), 512)
	b.set(func(s *Termios) { s.Oflag = 0 })
	total := 0
	for range 100 {
		n, e := b.o.write(false, chunk)
		total += n
		if e != 0 {
			break
		}
	}
	if total < 4096 || total > 16384 {
		t.Errorf("a slave without a reader took %d bytes", total)
	}
	if ev := b.o.files[0].Ready(nil) & unix.POLLOUT; ev != 0 {
		t.Error("full, and still ready for writing")
	}
	got := 0
	for {
		s, e := b.o.read(true, 1000)
		if e != 0 {
			break
		}
		got += len(s)
	}
	if got != total {
		t.Errorf("%d bytes written, %d read", total, got)
	}
	if ev := b.o.files[0].Ready(nil) & unix.POLLOUT; ev == 0 {
		t.Error("empty, and not ready for writing")
	}
}

// TestRandom compares with the host over random settings and bytes.
func TestRandom(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 15
	}
	iflags := []uint32{unix.ICRNL, unix.INLCR, unix.IGNCR, unix.ISTRIP, unix.IXON, unix.IXANY, unix.IUTF8, unix.IUCLC, unix.PARMRK}
	oflags := []uint32{unix.OPOST, unix.ONLCR, unix.OCRNL, unix.ONOCR, unix.ONLRET, unix.OLCUC, xtabs}
	lflags := []uint32{unix.ISIG, unix.ICANON, unix.ECHO, unix.ECHOE, unix.ECHOK, unix.ECHONL, unix.ECHOCTL, unix.ECHOKE, unix.ECHOPRT, unix.IEXTEN, unix.NOFLSH}
	const alphabet = "abAB12 _-\t\t\n\n\r\x7f\x7f\x7f\x15\x17\x17\x16\x12\x04\x01\x1b\xc3\xa9\xff\x80\x11"
	for seed := range uint64(rounds) {
		r := rand.New(rand.NewPCG(seed, 7))
		pick := func(from []uint32) (v uint32) {
			for _, f := range from {
				if r.IntN(2) == 0 {
					v |= f
				}
			}
			return v
		}
		b := newBoth(t)
		b.note("seed %d", seed)
		for range 4 {
			i, o, l := pick(iflags), pick(oflags), pick(lflags)
			if r.IntN(3) > 0 {
				l |= unix.ICANON | unix.ECHO
			}
			b.set(func(s *Termios) { s.Iflag, s.Oflag, s.Lflag = i, o, l })
			for range 6 {
				n := 1 + r.IntN(12)
				w := make([]byte, n)
				for k := range w {
					w[k] = alphabet[r.IntN(len(alphabet))]
				}
				switch r.IntN(10) {
				case 0, 1:
					b.write(false, string(w))
				case 2:
					// Alone: the host's worker may or may not have passed
					// on what a signal's flush would drop.
					b.write(true, "\x03")
				default:
					b.write(true, string(w))
				}
				b.drain(true)
				if r.IntN(2) == 0 {
					b.read(false, 1+r.IntN(20))
				}
			}
			b.drain(false)
		}
	}
}
