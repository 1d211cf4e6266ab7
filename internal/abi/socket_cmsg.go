package abi

import "encoding/binary"

// Cmsg is one control message (cmsg(3)); Data aliases the buffer parsed.
type Cmsg struct {
	Level, Type int32
	Data        []byte
}

// CmsgAlign rounds n up to the alignment of control messages.
func CmsgAlign(n int) int { return (n + 7) &^ 7 }

// NextCmsg takes the first control message off b. ok is false when there is
// none left; EINVAL says that the header does not fit its buffer, as the
// kernel's CMSG_OK does.
func NextCmsg(b []byte) (m Cmsg, rest []byte, ok bool, e Errno) {
	if len(b) < CmsghdrSize {
		return Cmsg{}, nil, false, 0
	}
	n := binary.LittleEndian.Uint64(b)
	if n < CmsghdrSize || n > uint64(len(b)) {
		return Cmsg{}, nil, false, errEINVAL
	}
	m = Cmsg{
		Level: int32(binary.LittleEndian.Uint32(b[8:])),
		Type:  int32(binary.LittleEndian.Uint32(b[12:])),
		Data:  b[CmsghdrSize:n:n],
	}
	next := CmsgAlign(int(n))
	if next > len(b) {
		next = len(b)
	}
	return m, b[next:], true, 0
}

const errEINVAL Errno = 22

// CmsgWriter builds a control buffer of a bounded size, as put_cmsg does: what
// does not fit is cut, and Truncated set. The zero writer has no space.
type CmsgWriter struct {
	Buf       []byte
	Space     int // what the receiver offered
	Truncated bool
}

// Left is the space that remains.
func (w *CmsgWriter) Left() int { return w.Space - len(w.Buf) }

// Put adds one message.
func (w *CmsgWriter) Put(level, typ int32, data []byte) {
	left := w.Left()
	if left < CmsghdrSize {
		w.Truncated = true
		return
	}
	n := CmsghdrSize + len(data)
	if n > left {
		w.Truncated = true
		n = left
		data = data[:n-CmsghdrSize]
	}
	var h [CmsghdrSize]byte
	binary.LittleEndian.PutUint64(h[:], uint64(n))
	binary.LittleEndian.PutUint32(h[8:], uint32(level))
	binary.LittleEndian.PutUint32(h[12:], uint32(typ))
	w.Buf = append(append(w.Buf, h[:]...), data...)
	for pad := min(CmsgAlign(n), left) - n; pad > 0; pad-- {
		w.Buf = append(w.Buf, 0)
	}
}

// PutInt adds a message of one int.
func (w *CmsgWriter) PutInt(level, typ int32, v int32) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(v))
	w.Put(level, typ, b[:])
}
