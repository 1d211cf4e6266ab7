package guest

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/xi2/xz"
)

// A bzImage's payload is the compressed vmlinux, which a hypervisor can start
// at its PVH entry without the decompressor (Xen's ELF note 18, as in
// include/xen/interface/elfnote.h): some 0.25 CPU-seconds less a boot.

// maxVmlinux bounds what is unpacked.
const maxVmlinux = 512 << 20

// Vmlinux gives the kernel as an uncompressed ELF file, made once.
func (c *Cache) Vmlinux(k *Kernel) (*Entry, error) {
	key := newKey("vmlinux", 1)
	key.file(k.Path, k.file)
	return c.get("vmlinux", key.sum(), func(w *os.File) error { return k.unpack(w) })
}

func (k *Kernel) unpack(w io.Writer) error {
	raw, err := os.ReadFile(k.Path)
	if err != nil {
		return fmt.Errorf("kernel: %w", err)
	}
	image := raw
	if !k.elf {
		if image, err = payload(raw); err != nil {
			return fmt.Errorf("kernel %s: %w", k.Path, err)
		}
	}
	if err := checkPVH(image); err != nil {
		return fmt.Errorf("kernel %s: %w", k.Path, err)
	}
	if _, err := w.Write(image); err != nil {
		return fmt.Errorf("vmlinux of %s: %w", k.Release, err)
	}
	return nil
}

// payload unpacks the compressed kernel of a bzImage.
func payload(b []byte) ([]byte, error) {
	if len(b) < hdrEnd {
		return nil, errors.New("is shorter than a header")
	}
	if p := binary.LittleEndian.Uint16(b[hdrProtocol:]); p < 0x208 {
		return nil, fmt.Errorf("its boot protocol is %#x; the payload has a place of its own since 0x208", p)
	}
	sects := int(b[hdrSetupSects])
	if sects == 0 {
		sects = 4
	}
	start := uint64(sects+1)*512 + uint64(binary.LittleEndian.Uint32(b[hdrPayloadOffset:]))
	length := uint64(binary.LittleEndian.Uint32(b[hdrPayloadLength:]))
	if start+length > uint64(len(b)) || length < 8 {
		return nil, fmt.Errorf("its payload (%d bytes at %d) lies beyond its end", length, start)
	}
	return decompress(b[start:start+length], true)
}

// Magic numbers of the compressions.
const (
	magicGzip = "\x1f\x8b"
	magicXz   = "\xfd7zXZ\x00"
	magicZstd = "\x28\xb5\x2f\xfd"
	magicLZ4  = "\x02\x21\x4c\x18" // legacy frame
)

// decompress unpacks a kernel, to which its size was appended unless it is
// gzip, or a module. What is not compressed comes back as it is.
func decompress(b []byte, sized bool) ([]byte, error) {
	has := func(magic string) bool { return bytes.HasPrefix(b, []byte(magic)) }
	cut := func() []byte {
		if sized {
			return b[:len(b)-4]
		}
		return b
	}
	switch {
	case has(magicLZ4):
		return unLZ4(cut())
	case has(magicXz):
		r, err := xz.NewReader(bytes.NewReader(cut()), xz.DefaultDictMax)
		if err != nil {
			return nil, fmt.Errorf("xz: %w", err)
		}
		return readBounded("xz", r)
	case has(magicZstd):
		r, err := zstd.NewReader(bytes.NewReader(cut()), zstd.WithDecoderMaxMemory(maxVmlinux), zstd.WithDecoderMaxWindow(1<<27))
		if err != nil {
			return nil, fmt.Errorf("zstd: %w", err)
		}
		defer r.Close()
		return readBounded("zstd", r)
	case has(magicGzip):
		r, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("gzip: %w", err)
		}
		r.Multistream(false)
		return readBounded("gzip", r)
	case has("\x7fELF"):
		return b, nil
	}
	return nil, fmt.Errorf("is packed in a way that is not known (it begins % x); lz4, xz, zstd and gzip are", b[:min(8, len(b))])
}

func readBounded(kind string, r io.Reader) ([]byte, error) {
	var out bytes.Buffer
	n, err := io.Copy(&out, io.LimitReader(r, maxVmlinux+1))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	if n > maxVmlinux {
		return nil, fmt.Errorf("%s: more than %d bytes", kind, maxVmlinux)
	}
	return out.Bytes(), nil
}

// lz4Block is the size of an uncompressed block of a legacy frame.
const lz4Block = 8 << 20

// unLZ4 unpacks a legacy frame: the magic, then blocks with their sizes.
func unLZ4(b []byte) ([]byte, error) {
	b = b[len(magicLZ4):]
	var out []byte
	buf := make([]byte, lz4Block)
	for len(b) >= 4 {
		size := binary.LittleEndian.Uint32(b)
		b = b[4:]
		if size == binary.LittleEndian.Uint32([]byte(magicLZ4)) {
			continue // another frame
		}
		if uint64(size) > uint64(len(b)) {
			return nil, fmt.Errorf("lz4: a block of %d bytes, and %d are left", size, len(b))
		}
		n, err := lz4.UncompressBlock(b[:size], buf)
		if err != nil {
			return nil, fmt.Errorf("lz4: %w", err)
		}
		if len(out)+n > maxVmlinux {
			return nil, fmt.Errorf("lz4: more than %d bytes", maxVmlinux)
		}
		out = append(out, buf[:n]...)
		b = b[size:]
	}
	if len(out) == 0 {
		return nil, errors.New("lz4: is empty")
	}
	return out, nil
}

// pvhNote is XEN_ELFNOTE_PHYS32_ENTRY.
const pvhNote = 18

// checkPVH asks for the entry that hypervisors start an ELF kernel at.
func checkPVH(image []byte) error {
	f, err := elf.NewFile(bytes.NewReader(image))
	if err != nil {
		return fmt.Errorf("its payload: %w", err)
	}
	if f.Machine != elf.EM_X86_64 {
		return fmt.Errorf("is for %v, not x86-64", f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type != elf.PT_NOTE || p.Filesz > 1<<20 {
			continue
		}
		notes := make([]byte, p.Filesz)
		if _, err := p.ReadAt(notes, 0); err != nil {
			return fmt.Errorf("its notes: %w", err)
		}
		if hasNote(notes, "Xen", pvhNote) {
			return nil
		}
	}
	return errors.New("has no PVH entry (it was built without CONFIG_PVH): use another kernel")
}

func hasNote(b []byte, owner string, kind uint32) bool {
	align := func(n uint32) uint64 { return (uint64(n) + 3) &^ 3 }
	for len(b) >= 12 {
		namesz, descsz := binary.LittleEndian.Uint32(b), binary.LittleEndian.Uint32(b[4:])
		typ := binary.LittleEndian.Uint32(b[8:])
		b = b[12:]
		if align(namesz)+align(descsz) > uint64(len(b)) {
			return false
		}
		if typ == kind && string(bytes.TrimRight(b[:namesz], "\x00")) == owner {
			return true
		}
		b = b[align(namesz)+align(descsz):]
	}
	return false
}
