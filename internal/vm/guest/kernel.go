package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Kernel is a kernel of the host's that a VM may boot, with its modules.
type Kernel struct {
	Path    string // bzImage or ELF
	Release string // as uname -r
	Modules string // directory, /lib/modules/RELEASE

	file os.FileInfo
	elf  bool
}

// ErrNoKernel says that there is no kernel to boot.
var ErrNoKernel = errors.New("no kernel for the VM")

// Places where distributions keep kernels and modules; variables for tests.
var (
	bootDirs   = []string{"/boot"}
	moduleDirs = []string{"/lib/modules", "/usr/lib/modules"}
)

// FindKernel opens the kernel at path; if that is empty, the host's newest
// cloud kernel that has its modules, else its newest.
func FindKernel(path string) (*Kernel, error) {
	if path != "" {
		return openKernel(path)
	}
	names, err := candidates()
	if err != nil {
		return nil, err
	}
	var first error
	for _, name := range names {
		k, err := openKernel(name)
		if err == nil {
			return k, nil
		}
		if first == nil {
			first = err
		}
	}
	if first != nil {
		return nil, first
	}
	return nil, fmt.Errorf("%w: /boot has no vmlinuz-*; %s", ErrNoKernel, installHint("linux-image-cloud-amd64"))
}

// candidates lists the kernels of the host, the best first.
func candidates() ([]string, error) {
	var names []string
	for _, dir := range bootDirs {
		list, err := filepath.Glob(filepath.Join(dir, "vmlinuz-*"))
		if err != nil {
			return nil, fmt.Errorf("kernels in %s: %w", dir, err)
		}
		names = append(names, list...)
	}
	// Fedora and Arch keep them beside the modules.
	for _, dir := range moduleDirs {
		list, _ := filepath.Glob(filepath.Join(dir, "*", "vmlinuz"))
		names = append(names, list...)
	}
	sortKernels(names)
	return names, nil
}

func openKernel(path string) (*Kernel, error) {
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s is not there; %s", ErrNoKernel, path, installHint("linux-image-cloud-amd64"))
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("kernel %s may not be read by this user: chmod a+r %s, or name a copy with --kernel", path, path)
	case err != nil:
		return nil, fmt.Errorf("kernel: %w", err)
	}
	defer f.Close()
	k := &Kernel{Path: path}
	if k.file, err = f.Stat(); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", path, err)
	}
	if k.Release, k.elf, err = release(f); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", path, err)
	}
	for _, dir := range moduleDirs {
		m := filepath.Join(dir, k.Release)
		if _, err := os.Stat(filepath.Join(m, "modules.dep")); err == nil {
			k.Modules = m
			return k, nil
		}
	}
	return nil, fmt.Errorf("kernel %s is %s, and /lib/modules/%s has no modules.dep: %s, or run depmod %s",
		path, k.Release, k.Release, installHint("linux-image-"+k.Release), k.Release)
}

// Offsets of the setup header, as the kernel's Documentation/arch/x86/boot.rst
// has them.
const (
	hdrSetupSects    = 0x1f1 // u8: 512-byte sectors of real-mode code, 0 being 4
	hdrMagic         = 0x202 // "HdrS"
	hdrProtocol      = 0x206 // u16
	hdrVersionString = 0x20e // u16: offset of the release, less 0x200
	hdrPayloadOffset = 0x248 // u32: from the protected-mode code, protocol 2.08
	hdrPayloadLength = 0x24c // u32
	hdrEnd           = 0x250
)

// release reads what kernel it is from its own header.
func release(r io.ReaderAt) (name string, elf bool, err error) {
	head := make([]byte, hdrEnd)
	if _, err := r.ReadAt(head, 0); err != nil {
		return "", false, fmt.Errorf("its header: %w", err)
	}
	if bytes.HasPrefix(head, []byte("\x7fELF")) {
		name, err := elfRelease(r)
		return name, true, err
	}
	if string(head[hdrMagic:hdrMagic+4]) != "HdrS" {
		return "", false, errors.New("is neither a bzImage nor an ELF file")
	}
	at := int64(binary.LittleEndian.Uint16(head[hdrVersionString:])) + 0x200
	text := make([]byte, 256)
	n, err := r.ReadAt(text, at)
	if err != nil && err != io.EOF {
		return "", false, fmt.Errorf("its release: %w", err)
	}
	return firstWord(text[:n], false)
}

// elfRelease looks for the banner, "Linux version RELEASE (".
func elfRelease(r io.ReaderAt) (string, error) {
	const banner = "Linux version "
	buf := make([]byte, 1<<20)
	for at := int64(0); ; at += int64(len(buf)) - 512 {
		n, err := r.ReadAt(buf, at)
		rest := buf[:n]
		for {
			i := bytes.Index(rest, []byte(banner))
			if i < 0 {
				break
			}
			rest = rest[i+len(banner):]
			if name, _, err := firstWord(rest, true); err == nil {
				return name, nil
			}
		}
		if err != nil {
			return "", errors.New("has no banner that names its release")
		}
	}
}

// firstWord takes a release from the front of text. It names a directory, so
// that it must be one name.
func firstWord(text []byte, elf bool) (string, bool, error) {
	word, _, ok := bytes.Cut(text, []byte(" "))
	name := string(word)
	if !ok || name == "" || len(name) > 64 || name[0] < '0' || name[0] > '9' || strings.Trim(name, releaseBytes) != "" {
		return "", elf, errors.New("its header names no release")
	}
	return name, elf, nil
}

const releaseBytes = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._+-~"

// sortKernels puts cloud kernels first, then newer before older.
func sortKernels(names []string) {
	cloud := func(s string) bool { return strings.Contains(s, "cloud") }
	less := func(a, b string) bool {
		if cloud(a) != cloud(b) {
			return cloud(a)
		}
		return newer(a, b)
	}
	for i := 1; i < len(names); i++ {
		for j := i; j > 0 && less(names[j], names[j-1]); j-- {
			names[j], names[j-1] = names[j-1], names[j]
		}
	}
}

// newer compares names with numbers in them by the numbers.
func newer(a, b string) bool {
	for a != "" && b != "" {
		na, ra := leadingNumber(a)
		nb, rb := leadingNumber(b)
		switch {
		case na >= 0 && nb >= 0 && na != nb:
			return na > nb
		case na >= 0 && nb >= 0:
			a, b = ra, rb
		case a[0] != b[0]:
			return a[0] > b[0]
		default:
			a, b = a[1:], b[1:]
		}
	}
	return a != ""
}

// leadingNumber gives −1 if s begins with no digit.
func leadingNumber(s string) (int, string) {
	i := 0
	for i < len(s) && s[i] >= '0' && s[i] <= '9' && i < 9 {
		i++
	}
	n, err := strconv.Atoi(s[:i])
	if err != nil {
		return -1, s
	}
	return n, s[i:]
}

// installHint says how to get a Debian package; elsewhere, what is wanted.
func installHint(pkg string) string {
	if _, err := os.Stat("/etc/debian_version"); err == nil {
		return "apt-get install " + pkg
	}
	return "install the distribution's kernel package (Debian: " + pkg + ")"
}
