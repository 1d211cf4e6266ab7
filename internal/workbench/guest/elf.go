package guest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
)

// Ready is what the first instructions of FirstELF write.
const Ready = "ready\n"

const firstBase = 0x400000

// The whole program (x86-64):
//
//	b8 01 00 00 00        mov  $1, %eax         write(2)
//	bf 01 00 00 00        mov  $1, %edi
//	48 8d 35 10 00 00 00  lea  msg(%rip), %rsi
//	ba 06 00 00 00        mov  $6, %edx
//	0f 05                 syscall
//	b8 3c 00 00 00        mov  $60, %eax        exit(2)
//	31 ff                 xor  %edi, %edi
//	0f 05                 syscall
//	msg: "ready\n"
var firstCode = []byte{
	0xb8, 1, 0, 0, 0,
	0xbf, 1, 0, 0, 0,
	0x48, 0x8d, 0x35, 0x10, 0, 0, 0,
	0xba, 6, 0, 0, 0,
	0x0f, 0x05,
	0xb8, 60, 0, 0, 0,
	0x31, 0xff,
	0x0f, 0x05,
}

// FirstELF is a static executable without a loader, a C library or a runtime:
// the time until its output arrives is the time until the first instruction.
func FirstELF() []byte {
	code := append(append([]byte{}, firstCode...), Ready...)
	const headers = 64 + 56 // Elf64_Ehdr, one Elf64_Phdr (elf(5))
	size := uint64(headers + len(code))
	h := elf.Header64{
		Ident:     [16]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:      uint16(elf.ET_EXEC),
		Machine:   uint16(elf.EM_X86_64),
		Version:   uint32(elf.EV_CURRENT),
		Entry:     firstBase + headers,
		Phoff:     64,
		Ehsize:    64,
		Phentsize: 56,
		Phnum:     1,
	}
	p := elf.Prog64{
		Type: uint32(elf.PT_LOAD), Flags: uint32(elf.PF_R | elf.PF_X),
		Vaddr: firstBase, Paddr: firstBase, Filesz: size, Memsz: size, Align: 4096,
	}
	var b bytes.Buffer
	binary.Write(&b, binary.LittleEndian, h)
	binary.Write(&b, binary.LittleEndian, p)
	b.Write(code)
	return b.Bytes()
}
