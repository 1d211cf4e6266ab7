package guest

import (
	"bytes"
	"encoding/binary"
)

// StubKernel is the smallest ELF file with a PVH entry. A machine that takes
// over a template's memory wants a kernel on its command line, so that it has
// the devices of one that boots, and never runs it: to read and lay out the
// real one would cost more than the rest of the restore.
func StubKernel() []byte {
	const (
		load  = 1 << 20
		heads = 64 + 2*56
		note  = 12 + 4 + 8
		halt  = 0xf4
	)
	var b bytes.Buffer
	put := func(v ...any) {
		for _, x := range v {
			_ = binary.Write(&b, binary.LittleEndian, x)
		}
	}
	b.WriteString("\x7fELF\x02\x01\x01" + string(make([]byte, 9)))
	put(uint16(2), uint16(62), uint32(1), uint64(load), uint64(64), uint64(0), uint32(0))                 // ET_EXEC, EM_X86_64
	put(uint16(64), uint16(56), uint16(2), uint16(0), uint16(0), uint16(0))                               // two program headers
	put(uint32(1), uint32(5), uint64(heads+note))                                                         // PT_LOAD
	put(uint64(load), uint64(load), uint64(1), uint64(1), uint64(1))                                      // one byte
	put(uint32(4), uint32(4), uint64(heads), uint64(0), uint64(0), uint64(note), uint64(note), uint64(4)) // PT_NOTE
	put(uint32(4), uint32(8), uint32(pvhNote))
	b.WriteString("Xen\x00")
	put(uint64(load))
	b.WriteByte(halt)
	return b.Bytes()
}
