package guest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// testELF is an x86-64 ELF file with one note segment.
func testELF(owner string, kind uint32) []byte {
	note := binary.LittleEndian.AppendUint32(nil, uint32(len(owner)+1))
	note = binary.LittleEndian.AppendUint32(note, 4)
	note = binary.LittleEndian.AppendUint32(note, kind)
	note = append(note, owner...)
	note = append(note, make([]byte, 4-len(owner)%4)...)
	note = append(note, 1, 2, 3, 4)
	b := make([]byte, 64+56, 4096)
	copy(b, "\x7fELF\x02\x01\x01")
	le := binary.LittleEndian
	le.PutUint16(b[16:], 2)  // ET_EXEC
	le.PutUint16(b[18:], 62) // EM_X86_64
	le.PutUint32(b[20:], 1)
	le.PutUint64(b[32:], 64) // e_phoff
	le.PutUint16(b[52:], 64)
	le.PutUint16(b[54:], 56)
	le.PutUint16(b[56:], 1)
	le.PutUint16(b[58:], 64)
	p := b[64:]
	le.PutUint32(p, 4) // PT_NOTE
	le.PutUint64(p[8:], 120)
	le.PutUint64(p[32:], uint64(len(note)))
	le.PutUint64(p[40:], uint64(len(note)))
	b = append(b, note...)
	return append(b, "Linux version 6.9.1-test (someone) #1"...)
}

// testBzImage wraps a payload in a setup header.
func testBzImage(payload []byte, release string) []byte {
	b := make([]byte, 1024)
	b[hdrSetupSects] = 1
	copy(b[hdrMagic:], "HdrS")
	le := binary.LittleEndian
	le.PutUint16(b[hdrProtocol:], 0x20f)
	le.PutUint16(b[hdrVersionString:], 0x300-0x200)
	copy(b[0x300:], release+" (builder) #1\x00")
	le.PutUint32(b[hdrPayloadOffset:], 16)
	le.PutUint32(b[hdrPayloadLength:], uint32(len(payload)))
	return append(append(b, make([]byte, 16)...), payload...)
}

func packed(t *testing.T, kind string, image []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	size := binary.LittleEndian.AppendUint32(nil, uint32(len(image)))
	switch kind {
	case "gzip":
		w := gzip.NewWriter(&buf)
		w.Write(image)
		w.Close()
	case "zstd":
		w, err := zstd.NewWriter(&buf)
		if err != nil {
			t.Fatal(err)
		}
		w.Write(image)
		w.Close()
		buf.Write(size)
	case "lz4":
		buf.WriteString(magicLZ4)
		for part := image; len(part) > 0; {
			n := min(len(part), 4000) // any size of block
			out := make([]byte, lz4.CompressBlockBound(n))
			m, err := lz4.CompressBlock(part[:n], out, nil)
			if err != nil {
				t.Fatal(err)
			}
			if m == 0 { // does not shrink: literals alone
				m = copy(out, literals(part[:n]))
			}
			buf.Write(binary.LittleEndian.AppendUint32(nil, uint32(m)))
			buf.Write(out[:m])
			part = part[n:]
		}
		buf.Write(size)
	}
	return buf.Bytes()
}

// literals is an LZ4 block of bytes as they are.
func literals(b []byte) []byte {
	out := []byte{0xf0}
	n := len(b) - 15
	if n < 0 {
		return append([]byte{byte(len(b) << 4)}, b...)
	}
	for ; n >= 255; n -= 255 {
		out = append(out, 255)
	}
	return append(append(out, byte(n)), b...)
}

func TestPayload(t *testing.T) {
	image := append(testELF("Xen", pvhNote), bytes.Repeat([]byte("text "), 3000)...)
	for _, kind := range []string{"gzip", "zstd", "lz4"} {
		got, err := payload(testBzImage(packed(t, kind, image), "6.9.1-test"))
		if err != nil || !bytes.Equal(got, image) {
			t.Errorf("%s: %d bytes of %d, %v", kind, len(got), len(image), err)
		}
	}
	// xz has no writer here; the second is what kernels use, with the x86
	// filter before LZMA2.
	for _, text := range []string{
		"/Td6WFoAAAFpIt42AgAhARwAAAAQz1jMAQAMaGVsbG8ga2VybmVsCgAAAACc6S7uAAEhDXXcqNKQQpkNAQAAAAABWVo=",
		"/Td6WFoAAAFpIt42AgEEACEBFgANhjUfAQAMaGVsbG8ga2VybmVsCgAAAACc6S7uAAEhDXXcqNKQQpkNAQAAAAABWVo=",
	} {
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decompress(append(raw, 13, 0, 0, 0), true); err != nil || string(got) != "hello kernel\n" {
			t.Errorf("xz: %q, %v", got, err)
		}
	}
	for name, bad := range map[string][]byte{
		"short":   make([]byte, 100),
		"beyond":  testBzImage(nil, "6.9.1-test")[:hdrEnd],
		"unknown": testBzImage([]byte("????????????????"), "6.9.1-test"),
		"cut":     testBzImage(packed(t, "lz4", image)[:200], "6.9.1-test"),
	} {
		if _, err := payload(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestPVH(t *testing.T) {
	if err := checkPVH(testELF("Xen", pvhNote)); err != nil {
		t.Error(err)
	}
	for _, bad := range [][]byte{testELF("Xen", 17), testELF("GNU", pvhNote), []byte("no ELF")} {
		if checkPVH(bad) == nil {
			t.Errorf("%.20q: no error", bad)
		}
	}
}

// testHost makes a /boot and /lib/modules.
func testHost(t *testing.T) (boot, modules string) {
	t.Helper()
	boot, modules = t.TempDir(), t.TempDir()
	oldBoot, oldModules := bootDirs, moduleDirs
	bootDirs, moduleDirs = []string{boot}, []string{modules}
	t.Cleanup(func() { bootDirs, moduleDirs = oldBoot, oldModules })
	return boot, modules
}

func testKernel(t *testing.T, boot, modules, release string) string {
	t.Helper()
	path := filepath.Join(boot, "vmlinuz-"+release)
	write(t, path, string(testBzImage(packed(t, "gzip", testELF("Xen", pvhNote)), release)))
	if modules != "" {
		write(t, filepath.Join(modules, release, "modules.dep"), "")
	}
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestFindKernel(t *testing.T) {
	boot, modules := testHost(t)
	if _, err := FindKernel(""); !errors.Is(err, ErrNoKernel) || !strings.Contains(err.Error(), "linux-image-cloud-amd64") {
		t.Errorf("no kernel: %v", err)
	}
	testKernel(t, boot, "", "6.20.0-cloud-amd64") // without modules
	if _, err := FindKernel(""); err == nil || !strings.Contains(err.Error(), "linux-image-6.20.0-cloud-amd64") {
		t.Errorf("no modules: %v", err)
	}
	for _, release := range []string{"6.9.0-1-amd64", "6.10.0-1-amd64"} {
		testKernel(t, boot, modules, release)
	}
	find := func(want string) {
		t.Helper()
		k, err := FindKernel("")
		if err != nil || k.Release != want {
			t.Errorf("found %+v, %v; want %s", k, err, want)
		}
	}
	find("6.10.0-1-amd64")
	testKernel(t, boot, modules, "6.1.0-9-cloud-amd64")
	testKernel(t, boot, modules, "6.1.0-10-cloud-amd64")
	find("6.1.0-10-cloud-amd64")

	elf := filepath.Join(boot, "vmlinux")
	write(t, elf, string(append(testELF("Xen", pvhNote), make([]byte, 1000)...)))
	write(t, filepath.Join(modules, "6.9.1-test", "modules.dep"), "")
	if k, err := FindKernel(elf); err != nil || k.Release != "6.9.1-test" || !k.elf {
		t.Errorf("an ELF kernel: %+v, %v", k, err)
	}
	for text, want := range map[string]string{"#!/bin/sh": "header", strings.Repeat("x", 1000): "neither"} {
		write(t, elf, text)
		if _, err := FindKernel(elf); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.10q: %v", text, err)
		}
	}
	evil := testBzImage(nil, "../../tmp")
	write(t, elf, string(evil))
	if _, err := FindKernel(elf); err == nil {
		t.Error("a release with a path in it was taken")
	}
}

func TestVmlinux(t *testing.T) {
	boot, modules := testHost(t)
	c := testCache(t)
	k, err := FindKernel(testKernel(t, boot, modules, "6.1.0-9-cloud-amd64"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := c.Vmlinux(k)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if raw, _ := os.ReadFile(first.Path); !bytes.Equal(raw, testELF("Xen", pvhNote)) || !first.Made {
		t.Errorf("%d bytes, made %v", len(raw), first.Made)
	}
	second, err := c.Vmlinux(k)
	if err != nil || second.Made || second.Path != first.Path {
		t.Errorf("the second: %+v, %v", second, err)
	}
	second.Close()
}

func FuzzPayload(f *testing.F) {
	f.Add(testBzImage([]byte(magicLZ4+"\x04\x00\x00\x00\x30abc\x03\x00\x00\x00"), "6.9.1-test"))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := payload(b)
		if err == nil {
			_ = checkPVH(out)
		}
		_, _, _ = release(bytes.NewReader(b))
	})
}
