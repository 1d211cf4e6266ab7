package tty

import (
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzLineDiscipline changes settings and passes bytes both ways: nothing may
// panic, and no buffer may grow past its bounds.
func FuzzLineDiscipline(f *testing.F) {
	f.Add([]byte("hello\x7f\x15\n"), uint32(unix.ICRNL|unix.IXON), uint32(unix.OPOST|unix.ONLCR), uint32(unix.ICANON|unix.ECHO|unix.ECHOE|unix.IEXTEN))
	f.Add([]byte("\xff\xff\t\x16\x12\x17"), uint32(unix.PARMRK|unix.IUTF8), uint32(xtabs|unix.OPOST), uint32(0xffff))
	f.Add([]byte("\x13\x11\x03\x1c\x1a\x04"), uint32(0xffff), uint32(0xffff), uint32(unix.ISIG))
	f.Fuzz(func(t *testing.T, in []byte, iflag, oflag, lflag uint32) {
		in = in[:min(len(in), 300)]
		o := newOurs(t, &caller{table: newTable(), pid: 99, sid: 98}, true)
		s := &o.pair.slave
		for i, c := range in {
			if i%7 == 3 {
				n := s.termios
				n.Iflag, n.Oflag, n.Lflag = iflag>>(c%8), oflag>>(c%5), lflag>>(c%6)
				n.CC[c%ncc] = c
				s.apply(n)
			}
			o.write(true, in[:i+1])
			o.write(false, in[i:])
			if c%3 == 0 {
				o.read(true, int(c))
				o.read(false, int(c)%5)
			}
			for _, e := range []*TTY{s, s.peer} {
				if e.in.count() > bufSize+1 || len(e.in.pending) > pendingLimit || len(e.echo.q) > echoLimit {
					t.Fatalf("%d bytes in the buffer, %d before it, %d echoes", e.in.count(), len(e.in.pending), len(e.echo.q))
				}
			}
		}
	})
}
