package tty

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// disabled in c_cc turns a special character off; in a line it stands for ^D.
const disabled = 0

const ncc = 19 // NCCS of the kernel's struct termios

// Termios is the kernel's struct ktermios.
type Termios struct {
	Iflag, Oflag, Cflag, Lflag uint32
	Line                       uint8
	CC                         [ncc]uint8
	Ispeed, Ospeed             uint32
}

// Bits of c_cflag and c_oflag that x/sys does not name.
const (
	cbaud   = 0x100f
	cibaud  = 0x100f0000
	bother  = 0x1000
	ibshift = 16
	tabdly  = 0x1800
	xtabs   = 0x1800
)

// slaveTermios is what a new terminal starts with (tty_std_termios).
func slaveTermios() Termios {
	return Termios{
		Iflag: unix.ICRNL | unix.IXON,
		Oflag: unix.OPOST | unix.ONLCR,
		Cflag: unix.B38400 | unix.CS8 | unix.CREAD,
		Lflag: unix.ISIG | unix.ICANON | unix.ECHO | unix.ECHOE | unix.ECHOK |
			unix.ECHOCTL | unix.ECHOKE | unix.IEXTEN,
		CC: [ncc]uint8{
			unix.VINTR: 3, unix.VQUIT: 0x1c, unix.VERASE: 0x7f, unix.VKILL: 0x15,
			unix.VEOF: 4, unix.VMIN: 1, unix.VSTART: 0x11, unix.VSTOP: 0x13,
			unix.VSUSP: 0x1a, unix.VREPRINT: 0x12, unix.VDISCARD: 0x0f,
			unix.VWERASE: 0x17, unix.VLNEXT: 0x16,
		},
		Ispeed: 38400, Ospeed: 38400,
	}
}

// masterTermios is the other end's: raw.
func masterTermios() Termios {
	t := slaveTermios()
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	return t
}

var baudRates = [...]uint32{
	0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400,
}

var baudRatesEx = [...]uint32{
	1: 57600, 115200, 230400, 460800, 500000, 576000, 921600, 1000000, 1152000,
	1500000, 2000000, 2500000, 3000000, 3500000, 4000000,
}

// rate decodes the four speed bits and CBAUDEX of c_cflag.
func rate(bits, given uint32) uint32 {
	if bits == bother {
		return given
	}
	if bits&bother != 0 {
		return baudRatesEx[bits&15]
	}
	return baudRates[bits&15]
}

// setSpeeds fills in the speeds that the flags name.
func (t *Termios) setSpeeds() {
	t.Ospeed = rate(t.Cflag&cbaud, t.Ospeed)
	in := t.Cflag & cibaud >> ibshift
	if in == 0 {
		t.Ispeed = t.Ospeed
		return
	}
	t.Ispeed = rate(in, t.Ispeed)
}

// Sizes of struct termios, termios2 and termio as the kernel has them.
const (
	termiosSize  = 36
	termios2Size = 44
	termioSize   = 18
)

// encode gives struct termios2; its first 36 bytes are struct termios.
func (t *Termios) encode() (b [termios2Size]byte) {
	le := binary.LittleEndian
	le.PutUint32(b[0:], t.Iflag)
	le.PutUint32(b[4:], t.Oflag)
	le.PutUint32(b[8:], t.Cflag)
	le.PutUint32(b[12:], t.Lflag)
	b[16] = t.Line
	copy(b[17:], t.CC[:])
	le.PutUint32(b[36:], t.Ispeed)
	le.PutUint32(b[40:], t.Ospeed)
	return b
}

// decode reads struct termios, or termios2 when b has all of it.
func (t *Termios) decode(b []byte) {
	le := binary.LittleEndian
	t.Iflag, t.Oflag = le.Uint32(b[0:]), le.Uint32(b[4:])
	t.Cflag, t.Lflag = le.Uint32(b[8:]), le.Uint32(b[12:])
	t.Line = b[16]
	copy(t.CC[:], b[17:])
	if len(b) >= termios2Size {
		t.Ispeed, t.Ospeed = le.Uint32(b[36:]), le.Uint32(b[40:])
	}
	t.setSpeeds()
}

// encodeTermio gives the old struct termio: 16-bit flags and eight characters.
func (t *Termios) encodeTermio() (b [termioSize]byte) {
	le := binary.LittleEndian
	le.PutUint16(b[0:], uint16(t.Iflag))
	le.PutUint16(b[2:], uint16(t.Oflag))
	le.PutUint16(b[4:], uint16(t.Cflag))
	le.PutUint16(b[6:], uint16(t.Lflag))
	b[8] = t.Line
	copy(b[9:17], t.CC[:])
	return b
}

// decodeTermio changes what struct termio can say and keeps the rest.
func (t *Termios) decodeTermio(b []byte) {
	le := binary.LittleEndian
	low := func(f *uint32, off int) { *f = *f&^0xffff | uint32(le.Uint16(b[off:])) }
	low(&t.Iflag, 0)
	low(&t.Oflag, 2)
	low(&t.Cflag, 4)
	low(&t.Lflag, 6)
	t.Line = b[8]
	copy(t.CC[:8], b[9:17])
	t.setSpeeds()
}

// Winsize is struct winsize.
type Winsize struct{ Rows, Cols, XPixel, YPixel uint16 }

func (w *Winsize) encode() (b [8]byte) {
	le := binary.LittleEndian
	le.PutUint16(b[0:], w.Rows)
	le.PutUint16(b[2:], w.Cols)
	le.PutUint16(b[4:], w.XPixel)
	le.PutUint16(b[6:], w.YPixel)
	return b
}

func (w *Winsize) decode(b []byte) {
	le := binary.LittleEndian
	w.Rows, w.Cols = le.Uint16(b[0:]), le.Uint16(b[2:])
	w.XPixel, w.YPixel = le.Uint16(b[4:]), le.Uint16(b[6:])
}
