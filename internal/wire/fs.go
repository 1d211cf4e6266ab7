package wire

// The file protocol between a Sentry and its Gofer, over SOCK_SEQPACKET. One
// request is in flight at a time on a connection; each gets one reply.
//
//	request                                      reply
//	0    1      2      4     5                   0      4
//	┌────┬──────┬──────┬─────┬───────────┐       ┌──────┬───────────────────┐
//	│ op │ flags│ mount│ near│ arguments │       │errno │ results, if 0     │
//	└────┴──────┴──────┴─────┴───────────┘       └──────┴───────────────────┘
//
// near is the CPU that the Sentry's thread waits on, plus 1: the Gofer serves
// best there, since an idle CPU is slow to wake. 255: nobody waits yet, and any
// CPU that is idle serves best; 0: unknown.
//
// A request may be sent ahead, before its reply is wanted; it is answered, and
// the reply read, before the next one is sent.
//
// Numbers are little-endian; a string is its length (2 bytes) and its bytes. A
// path is relative to the mount's root, in components that are neither empty
// nor "." nor ".."; an empty path is the root. The Gofer keeps no state between
// requests. A descriptor travels by SCM_RIGHTS beside the message: in replies
// to FSStat, FSOpen, FSCreate and FSTmpfile, and in FSLinkFD and FSSetAttr of a file
// without a name.
//
//	FSStat      path                                      → attr, target (, names, descriptor)
//	FSList      path, cookie u64                          → FSListHeader, entries
//	FSOpen      path, access u32 (O_RDONLY, O_RDWR…)      → attr, names, descriptor
//	FSCreate    path, mode u32, uid u32, gid u32          → attr, descriptor (O_RDWR)
//	FSMkdir     path, mode u32, uid u32, gid u32          → attr
//	FSSymlink   path, target, uid u32, gid u32            → attr
//	FSMknod     path, mode u32, uid u32, gid u32          → attr
//	FSLink      path, newpath                             → attr
//	FSUnlink    path, FSIdentity                          →
//	FSRmdir     path, FSIdentity                          →
//	FSRename    path, newpath, flags u32                  →
//	FSSetAttr   path, FSSetAttrArgs                       → attr
//	FSGetXattr  path, name                                → value
//	FSSetXattr  path, name, flags u32, value              →
//	FSListXattr path                                      → names
//	FSDelXattr  path, name                                →
//	FSStatfs    path                                      → FSStatfsReply
//	FSSync      path                                      →
//	FSTmpfile   path, mode u32, uid u32, gid u32          → attr, descriptor (O_RDWR)
//	FSLinkFD    path; the descriptor of FSTmpfile beside  → attr
//	FSWalk      "", groups u32, (path, n u32, n names)…    → count u32, sections
//	FSResolve   path, rest                                → count u32, (attr, target)…, absent u8 (, names, descriptor)
//
// With the flag FSStatOpen, FSStat sends a descriptor to read a regular file
// along, if it can: who looks for one name often reads it next. names is a u32
// and as many names of xattrs.
//
// FSResolve is FSStat of every component of rest below the directory path, up
// to the first that is missing or is not a directory; what is not in the reply
// is asked for by itself. absent is 1 if the component behind those of the reply
// does not exist. With FSStatOpen a regular file at the end of rest is opened.
//
// What FSUnlink and FSRmdir remove must be what FSIdentity says, or they answer
// ESTALE; with Ino 0 anything will do.
//
// FSWalk is FSList of several directories at once, and of what lies below them,
// depth first, as far as one message reaches: for those who walk a tree. They are
// named by group, the subdirectories of one path. A section is two u32, which
// directory it is (FSWalkNamed and the name's index among all of the request, or an
// earlier section and the entry's index there), an
// FSListHeader and the entries. Only the first section may be not Done.

// FSOp is the kind of a request.
type FSOp uint8

// Requests.
const (
	FSStat FSOp = 1 + iota
	FSList
	FSOpen
	FSCreate
	FSMkdir
	FSSymlink
	FSMknod
	FSLink
	FSUnlink
	FSRmdir
	FSRename
	FSSetAttr
	FSGetXattr
	FSSetXattr
	FSListXattr
	FSDelXattr
	FSStatfs
	FSSync
	FSWalk
	FSTmpfile
	FSLinkFD
	FSResolve
	FSOpEnd
)

// Changes tells whether requests of this kind change the host's files.
func (op FSOp) Changes() bool {
	switch op {
	case FSStat, FSList, FSOpen, FSGetXattr, FSListXattr, FSStatfs, FSSync, FSWalk, FSResolve:
		return false
	}
	return true
}

// Flags of requests.
const (
	FSStatOpen = 1 // FSStat, FSResolve
	// FSLight is FSList's and FSWalk's: attributes of directories alone.
	FSLight = 2
)

// Kinds of entries, the first byte of each.
const (
	FSEntryLight = 0 // type u8 (DT_*), inode number u64, name
	FSEntryFull  = 1 // attr, name, target
)

// FSWalkNamed marks sections of directories that the request named.
const FSWalkNamed = ^uint32(0)

// FSAnywhere is near of a request that nobody waits for.
const FSAnywhere = 255

const (
	// MaxFSMessage bounds a request and a reply.
	MaxFSMessage = 80 << 10
	// FSHeader is the size of a request's header.
	FSHeader = 5
	// FSReplyHeader is that of a reply's.
	FSReplyHeader = 4
	// fsAttrSize is that of an encoded FSAttr.
	fsAttrSize = 4*4 + 3*8 + 2*8 + 4 + 4*8 + 8
)

// FSAttr are a host file's attributes (statx(2)).
type FSAttr struct {
	Mode, Nlink, UID, GID      uint32
	Ino, Dev, Rdev             uint64
	Size, Blocks               int64
	Blksize                    uint32
	Atime, Mtime, Ctime, Btime int64 // nanoseconds
}

// Which fields FSSetAttr changes; the bits are vfs's.
const (
	FSSetMode uint32 = 1 << iota
	FSSetUID
	FSSetGID
	FSSetSize
	FSSetAtime
	FSSetMtime
)

// FSSetAttrArgs are FSSetAttr's arguments behind the path.
type FSSetAttrArgs struct {
	Mask, Mode, UID, GID uint32
	Size, Atime, Mtime   int64
}

// FSIdentity is which file a name leads to, and whose that is.
type FSIdentity struct {
	Ino, Dev  uint64
	Type, UID uint32 // Type: S_IFMT of the mode
}

// FSStatfsReply is struct statfs.
type FSStatfsReply struct {
	Type, Bsize                         int64
	Blocks, Bfree, Bavail, Files, Ffree uint64
	Namelen                             int64
}

// FSListHeader stands before the entries of a reply to FSList. An entry is a
// kind and what belongs to it; the target is that of a symbolic link.
type FSListHeader struct {
	Next  uint64 // the cookie to go on from
	Done  bool   // no entries are left
	Count uint32
}

// Encoder appends to a buffer of its own. It never grows beyond MaxFSMessage:
// Full tells that something did not fit.
type Encoder struct {
	B    []byte
	Full bool
}

// NewEncoder gives an encoder with the room of one message.
func NewEncoder() *Encoder { return &Encoder{B: make([]byte, 0, MaxFSMessage)} }

// Request starts a request anew.
func (e *Encoder) Request(op FSOp, flags uint8, mount uint16) {
	e.B, e.Full = append(e.B[:0], byte(op), flags, byte(mount), byte(mount>>8), 0), false
}

// Near says in a request's header which CPU the Sentry's thread waits on.
func (e *Encoder) Near(cpu int) {
	if cpu >= 0 && cpu < FSAnywhere-1 {
		e.B[4] = byte(cpu) + 1
	}
}

// Anywhere says that nobody waits for the reply yet.
func (e *Encoder) Anywhere() { e.B[4] = FSAnywhere }

// Reply starts a reply anew.
func (e *Encoder) Reply(errno uint32) {
	e.B, e.Full = e.B[:0], false
	e.U32(errno)
}

func (e *Encoder) room(n int) bool {
	if len(e.B)+n > MaxFSMessage {
		e.Full = true
	}
	return !e.Full
}

// U8, U32, U64, I64, Str and Bytes append one value.
func (e *Encoder) U8(v uint8) {
	if e.room(1) {
		e.B = append(e.B, v)
	}
}

func (e *Encoder) U32(v uint32) {
	if e.room(4) {
		e.B = append(e.B, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	}
}

func (e *Encoder) U64(v uint64) {
	e.U32(uint32(v))
	e.U32(uint32(v >> 32))
}

func (e *Encoder) I64(v int64) { e.U64(uint64(v)) }

func (e *Encoder) Str(s string) {
	if e.room(2+len(s)) && len(s) < 1<<16 {
		e.B = append(e.B, byte(len(s)), byte(len(s)>>8))
		e.B = append(e.B, s...)
	} else {
		e.Full = true
	}
}

// Bytes is Str for bytes, with a length of 4 bytes.
func (e *Encoder) Bytes(b []byte) {
	if e.room(4 + len(b)) {
		e.U32(uint32(len(b)))
		e.B = append(e.B, b...)
	}
}

// Attr appends attributes.
func (e *Encoder) Attr(a *FSAttr) {
	if !e.room(fsAttrSize) {
		return
	}
	e.U32(a.Mode)
	e.U32(a.Nlink)
	e.U32(a.UID)
	e.U32(a.GID)
	e.U64(a.Ino)
	e.U64(a.Dev)
	e.U64(a.Rdev)
	e.I64(a.Size)
	e.I64(a.Blocks)
	e.U32(a.Blksize)
	e.I64(a.Atime)
	e.I64(a.Mtime)
	e.I64(a.Ctime)
	e.I64(a.Btime)
	e.U32(0)
	e.U32(0)
}

// SetAttr appends FSSetAttr's arguments.
func (e *Encoder) SetAttr(a *FSSetAttrArgs) {
	e.U32(a.Mask)
	e.U32(a.Mode)
	e.U32(a.UID)
	e.U32(a.GID)
	e.I64(a.Size)
	e.I64(a.Atime)
	e.I64(a.Mtime)
}

// Identity appends one.
func (e *Encoder) Identity(i FSIdentity) {
	e.U64(i.Ino)
	e.U64(i.Dev)
	e.U32(i.Type)
	e.U32(i.UID)
}

// ListHeader appends one; Put overwrites it when the entries are known.
func (e *Encoder) ListHeader(h FSListHeader) {
	e.U64(h.Next)
	done := uint32(0)
	if h.Done {
		done = 1
	}
	e.U32(done)
	e.U32(h.Count)
}

// PutListHeader overwrites the header at offset at.
func (e *Encoder) PutListHeader(at int, h FSListHeader) {
	t := Encoder{B: e.B[:at:len(e.B)]}
	t.ListHeader(h)
}

// PutU32 overwrites the number at offset at.
func (e *Encoder) PutU32(at int, v uint32) {
	t := Encoder{B: e.B[:at:len(e.B)]}
	t.U32(v)
}

// Truncate takes back all from offset n on.
func (e *Encoder) Truncate(n int) { e.B, e.Full = e.B[:n], false }

// Decoder reads what an Encoder wrote. Bad is set when the message is too
// short; values are then zero.
type Decoder struct {
	B   []byte
	Bad bool
}

// Header reads a request's header.
func (d *Decoder) Header() (op FSOp, flags uint8, mount uint16, near uint8) {
	b := d.take(FSHeader)
	if b == nil {
		return 0, 0, 0, 0
	}
	return FSOp(b[0]), b[1], uint16(b[2]) | uint16(b[3])<<8, b[4]
}

func (d *Decoder) take(n int) []byte {
	if d.Bad || n > len(d.B) {
		d.Bad = true
		return nil
	}
	b := d.B[:n]
	d.B = d.B[n:]
	return b
}

// U8, U32, U64, I64, Str and Bytes read one value. Str and Bytes give views.
func (d *Decoder) U8() uint8 {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *Decoder) U32() uint32 {
	if b := d.take(4); b != nil {
		return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
	}
	return 0
}

func (d *Decoder) U64() uint64 { return uint64(d.U32()) | uint64(d.U32())<<32 }
func (d *Decoder) I64() int64  { return int64(d.U64()) }

// Str reads a string as a view of the message.
func (d *Decoder) Str() []byte {
	b := d.take(2)
	if b == nil {
		return nil
	}
	return d.take(int(b[0]) | int(b[1])<<8)
}

// Bytes reads bytes as a view of the message.
func (d *Decoder) Bytes() []byte {
	n := d.U32()
	if n > MaxFSMessage {
		d.Bad = true
		return nil
	}
	return d.take(int(n))
}

// Attr reads attributes.
func (d *Decoder) Attr(a *FSAttr) {
	a.Mode, a.Nlink, a.UID, a.GID = d.U32(), d.U32(), d.U32(), d.U32()
	a.Ino, a.Dev, a.Rdev = d.U64(), d.U64(), d.U64()
	a.Size, a.Blocks = d.I64(), d.I64()
	a.Blksize = d.U32()
	a.Atime, a.Mtime, a.Ctime, a.Btime = d.I64(), d.I64(), d.I64(), d.I64()
	d.take(8)
}

// SetAttr reads FSSetAttr's arguments.
func (d *Decoder) SetAttr(a *FSSetAttrArgs) {
	a.Mask, a.Mode, a.UID, a.GID = d.U32(), d.U32(), d.U32(), d.U32()
	a.Size, a.Atime, a.Mtime = d.I64(), d.I64(), d.I64()
}

// Identity reads one.
func (d *Decoder) Identity() FSIdentity {
	return FSIdentity{Ino: d.U64(), Dev: d.U64(), Type: d.U32(), UID: d.U32()}
}

// ListHeader reads one.
func (d *Decoder) ListHeader() FSListHeader {
	return FSListHeader{Next: d.U64(), Done: d.U32() != 0, Count: d.U32()}
}

// Statfs and its encoder carry FSStatfs's reply.
func (d *Decoder) Statfs(s *FSStatfsReply) {
	s.Type, s.Bsize = d.I64(), d.I64()
	s.Blocks, s.Bfree, s.Bavail, s.Files, s.Ffree = d.U64(), d.U64(), d.U64(), d.U64(), d.U64()
	s.Namelen = d.I64()
}

// Statfs appends FSStatfs's reply.
func (e *Encoder) Statfs(s *FSStatfsReply) {
	e.I64(s.Type)
	e.I64(s.Bsize)
	e.U64(s.Blocks)
	e.U64(s.Bfree)
	e.U64(s.Bavail)
	e.U64(s.Files)
	e.U64(s.Ffree)
	e.I64(s.Namelen)
}
