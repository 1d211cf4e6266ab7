package kernel

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/mm"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// ELF constants (elf(5)).
const (
	etExec, etDyn    = 2, 3
	emX8664          = 62
	ptLoad, ptInterp = 1, 3
	ptGNUStack       = 0x6474e551
	pfX, pfW, pfR    = 1, 2, 4
	ehdrSize         = 64
	phdrSize         = 56
	maxPhdrs         = 65536 / phdrSize
)

type phdr struct {
	typ, flags           uint32
	off, vaddr           uint64
	filesz, memsz, align uint64
}

// image is an ELF file, checked.
type image struct {
	file    *vfs.FileDescription
	typ     uint16
	entry   uint64
	phoff   uint64
	phnum   int
	phdrs   []phdr
	lo, hi  uint64 // of the PT_LOAD segments, whole pages
	interp  string
	execStk bool // PT_GNU_STACK asks for an executable stack, or is missing
}

// readELF reads and checks a file's headers. head is its beginning.
func readELF(c vfs.Caller, f *vfs.FileDescription, head []byte) (*image, abi.Errno) {
	le := binary.LittleEndian
	if len(head) < ehdrSize || string(head[:4]) != "\x7fELF" || head[4] != 2 || head[5] != 1 {
		return nil, unix.ENOEXEC
	}
	im := &image{file: f, typ: le.Uint16(head[16:]), entry: le.Uint64(head[24:]), phoff: le.Uint64(head[32:]), phnum: int(le.Uint16(head[56:])), execStk: true}
	if (im.typ != etExec && im.typ != etDyn) || le.Uint16(head[18:]) != emX8664 || le.Uint16(head[54:]) != phdrSize || im.phnum == 0 || im.phnum > maxPhdrs {
		return nil, unix.ENOEXEC
	}
	raw := make([]byte, im.phnum*phdrSize)
	if im.phoff+uint64(len(raw)) <= uint64(len(head)) && im.phoff < uint64(len(head)) {
		copy(raw, head[im.phoff:])
	} else if n, e := f.Pread(c, raw, int64(im.phoff)); e != 0 || n != len(raw) || int64(im.phoff) < 0 {
		return nil, unix.ENOEXEC
	}
	for i := 0; i < im.phnum; i++ {
		b := raw[i*phdrSize:]
		p := phdr{typ: le.Uint32(b), flags: le.Uint32(b[4:]), off: le.Uint64(b[8:]), vaddr: le.Uint64(b[16:]), filesz: le.Uint64(b[32:]), memsz: le.Uint64(b[40:]), align: le.Uint64(b[48:])}
		im.phdrs = append(im.phdrs, p)
		switch p.typ {
		case ptInterp:
			if e := im.readInterp(c, &p); e != 0 {
				return nil, e
			}
		case ptGNUStack:
			im.execStk = p.flags&pfX != 0
		}
	}
	return im, im.span()
}

func (im *image) readInterp(c vfs.Caller, p *phdr) abi.Errno {
	if im.interp != "" {
		return 0
	}
	if p.filesz < 2 || p.filesz > 4096 || int64(p.off) < 0 {
		return unix.ENOEXEC
	}
	b := make([]byte, p.filesz)
	if n, e := im.file.Pread(c, b, int64(p.off)); e != 0 || n != len(b) || b[len(b)-1] != 0 {
		return unix.ENOEXEC
	}
	im.interp = string(b[:clen(b)])
	return 0
}

func clen(b []byte) int {
	for i, x := range b {
		if x == 0 {
			return i
		}
	}
	return len(b)
}

// span checks the PT_LOAD segments and finds what they span.
func (im *image) span() abi.Errno {
	im.lo = ^uint64(0)
	for _, p := range im.phdrs {
		if p.typ != ptLoad {
			continue
		}
		end := p.vaddr + p.memsz
		if p.filesz > p.memsz || end < p.vaddr || end > platform.TaskSize || int64(p.off) < 0 || (p.vaddr-p.off)&(mm.PageSize-1) != 0 || p.off+p.filesz < p.off {
			return unix.ENOEXEC
		}
		im.lo = min(im.lo, p.vaddr&^uint64(mm.PageSize-1))
		im.hi = max(im.hi, (end+mm.PageSize-1)&^uint64(mm.PageSize-1))
	}
	if im.hi <= im.lo {
		return unix.ENOEXEC
	}
	return 0
}

func (p *phdr) prot() uint32 {
	prot := uint32(0)
	if p.flags&pfR != 0 {
		prot |= unix.PROT_READ
	}
	if p.flags&pfW != 0 {
		prot |= unix.PROT_WRITE
	}
	if p.flags&pfX != 0 {
		prot |= unix.PROT_EXEC
	}
	return prot
}

// mapImage maps the segments of im, moved by bias, into m through th. It gives
// where the last one ends.
func mapImage(c vfs.Caller, m *mm.MemoryManager, th *platform.Thread, im *image, bias uint64) (uint64, abi.Errno) {
	const page = uint64(mm.PageSize)
	brk := uint64(0)
	held := false
	for i := range im.phdrs {
		p := &im.phdrs[i]
		if p.typ != ptLoad || p.memsz == 0 {
			continue
		}
		start := p.vaddr + bias
		fileEnd, end := start+p.filesz, start+p.memsz
		lo := start &^ (page - 1)
		mapEnd := (fileEnd + page - 1) &^ (page - 1)
		if p.filesz > 0 {
			off := int64(p.off &^ (page - 1))
			if e := m.Place(c, th, mm.Placement{Start: lo, End: mapEnd, Prot: p.prot(), File: im.file, Off: off, Held: held}); e != 0 {
				return 0, e
			}
			held = true
		} else {
			mapEnd = lo
		}
		if end > fileEnd {
			if p.filesz > 0 && fileEnd < mapEnd && p.flags&pfW != 0 {
				th.Zero(fileEnd, min(mapEnd, end+page)-fileEnd)
			}
			if zend := (end + page - 1) &^ (page - 1); zend > mapEnd {
				if e := m.Place(c, th, mm.Placement{Start: mapEnd, End: zend, Prot: p.prot()}); e != 0 {
					return 0, e
				}
			}
		}
		brk = max(brk, end)
	}
	if held {
		th.ReleaseFD()
	}
	return brk, 0
}
