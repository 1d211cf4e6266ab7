package kernfs

import (
	"bytes"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// maxWrite bounds one write to a file here: a page, as for sysctls.
const maxWrite = 4096

// File is a file whose content is made on reading.
type File struct {
	Node
	// Read makes the content.
	Read func(c vfs.Caller, b *bytes.Buffer) abi.Errno
	// Write takes what one write(2) gave; nil: EINVAL.
	Write func(c vfs.Caller, data []byte) abi.Errno
	// Check is asked on open; nil: permissions suffice.
	Check func(c vfs.Caller, fd *vfs.FileDescription) abi.Errno
	// Length is st_size, for files that tell one.
	Length int64
	// Changes, if not nil, makes the file one to be polled: Version changes
	// with each event, and the queue is notified of Pri|Err.
	Changes func() (*waiter.Queue, uint64)
}

// NewFile makes a read-only file of a fixed tree.
func NewFile(mode uint32, read func(c vfs.Caller, b *bytes.Buffer) abi.Errno) *File {
	f := &File{Read: read}
	f.Init(unix.S_IFREG | mode)
	return f
}

// Text makes a file of fixed content, 0444.
func Text(s string) *File {
	return NewFile(0444, func(_ vfs.Caller, b *bytes.Buffer) abi.Errno {
		b.WriteString(s)
		return 0
	})
}

// Func makes a file whose content needs no caller and cannot fail, 0444.
func Func(f func(b *bytes.Buffer)) *File {
	return NewFile(0444, func(_ vfs.Caller, b *bytes.Buffer) abi.Errno {
		f(b)
		return 0
	})
}

// Attr is vfs.Inode's.
func (f *File) Attr() (vfs.Attr, abi.Errno) {
	a, e := f.Node.Attr()
	a.Size = f.Length
	return a, e
}

// Open is vfs.Inode's.
func (f *File) Open(c vfs.Caller, fd *vfs.FileDescription) (vfs.File, abi.Errno) {
	if f.Check != nil {
		if e := f.Check(c, fd); e != 0 {
			return nil, e
		}
	}
	o := &openFile{f: f}
	if f.Changes != nil {
		_, o.seen = f.Changes()
	}
	return o, 0
}

// openFile is a description's view of a File.
type openFile struct {
	vfs.FileDefaults
	f *File

	mu    sync.Mutex
	data  []byte // content as of the last read from the start
	valid bool
	seen  uint64 // Changes' version when last read or polled
}

func (o *openFile) Seekable() bool { return true }

func (o *openFile) Read(c vfs.Caller, _ *vfs.FileDescription, dst []byte, off int64) (int, abi.Errno) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if off == 0 || !o.valid {
		if o.f.Read == nil {
			return 0, unix.EINVAL
		}
		b := bytes.NewBuffer(o.data[:0])
		if e := o.f.Read(c, b); e != 0 {
			return 0, e
		}
		o.data, o.valid = b.Bytes(), true
	}
	if off >= int64(len(o.data)) {
		return 0, 0
	}
	return copy(dst, o.data[off:]), 0
}

func (o *openFile) Write(c vfs.Caller, _ *vfs.FileDescription, src []byte, off int64) (int, int64, abi.Errno) {
	if o.f.Write == nil {
		return 0, 0, unix.EINVAL
	}
	if len(src) > maxWrite {
		return 0, 0, unix.EINVAL
	}
	if e := o.f.Write(c, src); e != 0 {
		return 0, 0, e
	}
	return len(src), max(off, 0) + int64(len(src)), 0
}

// Seek knows no end, as for files of /proc.
func (o *openFile) Seek(vfs.Caller, *vfs.FileDescription, int64, int) (int64, abi.Errno) {
	return 0, unix.EINVAL
}

func (o *openFile) Ready(*vfs.FileDescription) uint32 {
	ev := waiter.In | waiter.Out | waiter.RdNorm | waiter.WrNorm
	if o.f.Changes == nil {
		return ev
	}
	_, now := o.f.Changes()
	o.mu.Lock()
	defer o.mu.Unlock()
	if now == o.seen {
		return waiter.In | waiter.RdNorm
	}
	o.seen = now
	return waiter.In | waiter.RdNorm | waiter.Err | waiter.Pri
}

func (o *openFile) Queue(*vfs.FileDescription) *waiter.Queue {
	if o.f.Changes == nil {
		return nil
	}
	q, _ := o.f.Changes()
	return q
}
