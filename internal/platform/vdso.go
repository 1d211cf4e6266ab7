package platform

import (
	"bytes"
	"encoding/binary"
)

// findGettime finds __vdso_clock_gettime in the host's vdso, mapped at m in p's
// memory for the moment; its address is where the vdso will be.
func (pl *Platform) findGettime(p *Process, m mapping) uint64 {
	image := make([]byte, min(m.end-m.start, 64<<10))
	if n, _ := p.ReadMemory(m.start, image); n != len(image) {
		return 0
	}
	if v := vdsoSymbol(image, "__vdso_clock_gettime"); v != 0 {
		return vdsoBase + (pl.vdso - vdsoBase) + v
	}
	return 0
}

// vdsoSymbol gives the value of a dynamic symbol of an ELF image whose sections
// lie at their own offsets, as a vdso's do; 0 if there is none.
func vdsoSymbol(image []byte, name string) uint64 {
	le := binary.LittleEndian
	if len(image) < 64 {
		return 0
	}
	shoff, n := le.Uint64(image[40:]), int(le.Uint16(image[60:]))
	section := func(i int) []byte {
		at := shoff + uint64(i)*64
		if at+64 > uint64(len(image)) {
			return nil
		}
		return image[at : at+64]
	}
	content := func(sh []byte) []byte {
		off, size := le.Uint64(sh[24:]), le.Uint64(sh[32:])
		if off > uint64(len(image)) || size > uint64(len(image))-off {
			return nil
		}
		return image[off : off+size]
	}
	for i := 0; i < n; i++ {
		sh := section(i)
		if sh == nil || le.Uint32(sh[4:]) != 11 /* SHT_DYNSYM */ {
			continue
		}
		link := section(int(le.Uint32(sh[40:])))
		if link == nil {
			return 0
		}
		names := content(link)
		for syms := content(sh); len(syms) >= 24; syms = syms[24:] {
			at := le.Uint32(syms)
			if at < uint32(len(names)) && bytes.HasPrefix(names[at:], append([]byte(name), 0)) {
				return le.Uint64(syms[8:])
			}
		}
	}
	return 0
}
