package vfstest

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// noise is what is written, parts of it zeros.
var noise = func() []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 1<<18)
	for i := range b {
		b[i] = byte(r.IntN(3))
	}
	return b
}()

// Op is one call. Which fields count depends on Name.
type Op struct {
	Name       string
	Path, To   string
	Flags      uint32
	Mode       uint32
	UID, GID   uint32 // of chown
	Size, Len  int64
	Data       []byte
	Who        int // index in People
	Xattr      string
	XattrFlags int
}

func (o Op) String() string {
	return fmt.Sprintf("%s(%q, %q, flags %#x, mode %#o, ids %d:%d, size %d+%d, %d bytes, xattr %q) by %v",
		o.Name, o.Path, o.To, o.Flags, o.Mode, int32(o.UID), int32(o.GID), o.Size, o.Len, len(o.Data), o.Xattr, People[o.Who])
}

// Person is an identity to make calls with.
type Person struct {
	UID, GID uint32
	Groups   []uint32
}

// People make the calls: the superuser, two users who share a group, and one
// who is in none.
var People = []Person{{0, 0, nil}, {1000, 1000, []uint32{50}}, {1001, 1001, []uint32{50}}, {1002, 1002, nil}}

// Gen makes random calls.
type Gen struct {
	R     *rand.Rand
	Names []string // ops to choose from
	Users bool     // others than the superuser too
	Limits
}

// Limits leaves out what a file system says it does not support.
type Limits struct {
	Without   []string // ops
	NoDevices bool
	NoWhite   bool     // RENAME_WHITEOUT
	Xattrs    []string // names, if not those of DefaultXattrs
}

// DefaultXattrs are names of every namespace, and bad ones.
var DefaultXattrs = []string{"user.a", "user.b", "trusted.t", "security.s", "user.", "nope.x", "system.foo", ""}

// DefaultOps are the calls that every file system must answer.
var DefaultOps = []string{
	"mkdir", "mkdir", "mkdir", "create", "create", "create", "symlink", "link", "unlink", "rmdir", "rename", "rename", "rename2",
	"chmod", "chown", "truncate", "stat", "lstat", "lstat", "readlink", "access", "write", "pwrite", "read", "list", "list",
	"setxattr", "getxattr", "listxattr", "removexattr", "utimes", "mknod", "chdir", "getcwd", "open", "seekdata", "seekhole",
	"fallocate", "tmpfile", "openat2", "rdev", "append",
}

func pick[T any](r *rand.Rand, s []T) T { return s[r.IntN(len(s))] }

// path makes a path of few names, with all that path_resolution(7) allows.
func (g *Gen) path() string {
	r := g.R
	var b strings.Builder
	if r.IntN(4) == 0 {
		b.WriteByte('/')
	}
	n := 1 + r.IntN(3)
	for i := range n {
		if i > 0 {
			b.WriteString(pick(r, []string{"/", "/", "/", "/", "//", "/./"}))
		}
		b.WriteString(pick(r, []string{"a", "b", "c", "d", "a", "b", "c", "d", "e", "a", "b", "..", "."}))
	}
	if r.IntN(10) == 0 {
		b.WriteByte('/')
	}
	switch r.IntN(200) {
	case 0:
		return ""
	case 1:
		return strings.Repeat("n", 255+r.IntN(2))
	case 2:
		return "/"
	}
	return b.String()
}

// Next makes one call.
func (g *Gen) Next() Op {
	r := g.R
	o := Op{Name: pick(r, g.Names), Path: g.path(), To: g.path()}
	if g.Users && r.IntN(4) != 0 {
		o.Who = r.IntN(len(People))
	}
	o.Mode = pick(r, []uint32{0755, 0700, 0777, 01777, 02775, 04755, 0644, 0600, 0, 0444, 06755, 02644, 0555, 02711})
	o.UID = pick(r, []uint32{0, 1000, 1001, 1002, ^uint32(0)})
	o.GID = pick(r, []uint32{0, 1000, 50, 1001, ^uint32(0)})
	o.Size = pick(r, []int64{0, 1, 100, 4095, 4096, 4097, 8192, 20000, 65535, 65536, 65537, 100000, 1 << 20, 3 << 20, -1})
	o.Len = pick(r, []int64{0, 1, 4096, 5000, 8192, 70000})
	n, at := pick(r, []int{0, 1, 10, 4096, 5000, 66000}), r.IntN(len(noise)/2)
	o.Data = noise[at : at+n : at+n]
	switch o.Name {
	case "rename2":
		o.Flags = uint32(r.IntN(8))
		if g.NoWhite {
			o.Flags &^= 4
		}
	case "open", "openat2", "create":
		o.Flags = g.openFlags()
	case "access":
		o.Mode = uint32(r.IntN(8))
	case "fallocate":
		o.Flags = pick(r, []uint32{0, 1, 3, 3, 2, 8, 0x10, 0x20, 0x40, 0x11})
	case "mknod":
		o.Mode |= pick(r, []uint32{0010000, 0140000, 0100000, 0, 0020000, 0060000, 0040000, 0170000})
		o.Flags = pick(r, []uint32{0, 0xef01, 0xef02})
		if g.NoDevices && o.Mode&0020000 != 0 && o.Mode&0170000 != 0120000 {
			o.Mode = o.Mode&07777 | 0010000
		}
	case "link":
		o.Who = 0 // the host may have fs.protected_hardlinks
		o.Flags = pick(r, []uint32{0, 0x400, 0x1000})
	}
	if strings.HasSuffix(o.Name, "xattr") {
		o.Xattr = pick(r, g.Xattrs)
		o.XattrFlags = r.IntN(4)
		o.Data = o.Data[:min(len(o.Data), 10)]
	}
	return o
}

func (g *Gen) openFlags() uint32 {
	r := g.R
	f := uint32(r.IntN(3))
	for _, bit := range []uint32{0x40, 0x80, 0x200, 0x400, 0x10000, 0x20000, 0x40000, 0x200000} {
		if r.IntN(6) == 0 {
			f |= bit
		}
	}
	return f
}
