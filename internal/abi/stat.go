package abi

import "encoding/binary"

var le = binary.LittleEndian

// Sizes of structures about files on x86-64.
const (
	StatSize   = 144
	StatxSize  = 256
	StatfsSize = 120
)

// Stat is what stat(2) and statx(2) tell of a file. Times are nanoseconds since
// the epoch; Dev and Rdev are encoded as st_dev is.
type Stat struct {
	Dev, Ino, Rdev             uint64
	Mode, Nlink, UID, GID      uint32
	Size, Blocks               int64
	Blksize                    uint32
	Atime, Mtime, Ctime, Btime int64

	// statx(2) alone.
	Attributes, AttributesMask uint64
	MountID                    uint64
	Mask                       uint32 // STATX_*
}

// split gives seconds, rounded down, and the nanoseconds beyond them.
func split(ns int64) (sec, nsec int64) {
	sec, nsec = ns/1e9, ns%1e9
	if nsec < 0 {
		sec, nsec = sec-1, nsec+1e9
	}
	return sec, nsec
}

func putTime(b []byte, ns int64) {
	sec, nsec := split(ns)
	le.PutUint64(b, uint64(sec))
	le.PutUint64(b[8:], uint64(nsec))
}

// Put encodes struct stat.
func (s *Stat) Put(b *[StatSize]byte) {
	le.PutUint64(b[0:], s.Dev)
	le.PutUint64(b[8:], s.Ino)
	le.PutUint64(b[16:], uint64(s.Nlink))
	le.PutUint32(b[24:], s.Mode)
	le.PutUint32(b[28:], s.UID)
	le.PutUint32(b[32:], s.GID)
	le.PutUint32(b[36:], 0)
	le.PutUint64(b[40:], s.Rdev)
	le.PutUint64(b[48:], uint64(s.Size))
	le.PutUint64(b[56:], uint64(s.Blksize))
	le.PutUint64(b[64:], uint64(s.Blocks))
	putTime(b[72:], s.Atime)
	putTime(b[88:], s.Mtime)
	putTime(b[104:], s.Ctime)
	clear(b[120:])
}

// DevMajor and DevMinor take a device number apart.
func DevMajor(dev uint64) uint32 { return uint32(dev>>8&0xfff | dev>>32&0xfffff000) }
func DevMinor(dev uint64) uint32 { return uint32(dev&0xff | dev>>12&0xffffff00) }

// PutStatx encodes struct statx.
func (s *Stat) PutStatx(b *[StatxSize]byte) {
	clear(b[:])
	le.PutUint32(b[0:], s.Mask)
	le.PutUint32(b[4:], s.Blksize)
	le.PutUint64(b[8:], s.Attributes)
	le.PutUint32(b[16:], s.Nlink)
	le.PutUint32(b[20:], s.UID)
	le.PutUint32(b[24:], s.GID)
	le.PutUint16(b[28:], uint16(s.Mode))
	le.PutUint64(b[32:], s.Ino)
	le.PutUint64(b[40:], uint64(s.Size))
	le.PutUint64(b[48:], uint64(s.Blocks))
	le.PutUint64(b[56:], s.AttributesMask)
	putStatxTime(b[64:], s.Atime)
	putStatxTime(b[80:], s.Btime)
	putStatxTime(b[96:], s.Ctime)
	putStatxTime(b[112:], s.Mtime)
	le.PutUint32(b[128:], DevMajor(s.Rdev))
	le.PutUint32(b[132:], DevMinor(s.Rdev))
	le.PutUint32(b[136:], DevMajor(s.Dev))
	le.PutUint32(b[140:], DevMinor(s.Dev))
	le.PutUint64(b[144:], s.MountID)
}

func putStatxTime(b []byte, ns int64) {
	sec, nsec := split(ns)
	le.PutUint64(b, uint64(sec))
	le.PutUint32(b[8:], uint32(nsec))
}

// Statfs is what statfs(2) tells of a file system.
type Statfs struct {
	Type, Bsize           int64
	Blocks, Bfree, Bavail uint64
	Files, Ffree          uint64
	Fsid                  uint64
	Namelen, Frsize       int64
	Flags                 int64 // ST_*
}

// Put encodes struct statfs.
func (s *Statfs) Put(b *[StatfsSize]byte) {
	for i, v := range [...]uint64{
		uint64(s.Type), uint64(s.Bsize), s.Blocks, s.Bfree, s.Bavail, s.Files, s.Ffree,
		s.Fsid, uint64(s.Namelen), uint64(s.Frsize), uint64(s.Flags),
	} {
		le.PutUint64(b[8*i:], v)
	}
	clear(b[88:])
}

// PutDirent64 encodes struct linux_dirent64 at the start of b and gives its
// length, 0 if it does not fit: getdents64(2).
func PutDirent64(b []byte, ino uint64, next int64, typ uint8, name string) int {
	n := (19 + len(name) + 1 + 7) &^ 7
	if n > len(b) {
		return 0
	}
	le.PutUint64(b, ino)
	le.PutUint64(b[8:], uint64(next))
	le.PutUint16(b[16:], uint16(n))
	b[18] = typ
	clear(b[19+copy(b[19:], name) : n])
	return n
}

// PutDirent encodes struct linux_dirent: getdents(2).
func PutDirent(b []byte, ino uint64, next int64, typ uint8, name string) int {
	n := (18 + len(name) + 2 + 7) &^ 7
	if n > len(b) {
		return 0
	}
	le.PutUint64(b, ino)
	le.PutUint64(b[8:], uint64(next))
	le.PutUint16(b[16:], uint16(n))
	clear(b[18+copy(b[18:], name) : n])
	b[n-1] = typ
	return n
}
