package kernfs

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Link is a symbolic link to a name.
type Link struct {
	Node
	Target func(c vfs.Caller) (string, abi.Errno)
}

// NewLink makes a link of a fixed tree.
func NewLink(target string) *Link {
	return NewDynamicLink(func(vfs.Caller) (string, abi.Errno) { return target, 0 })
}

// NewDynamicLink makes a link of a fixed tree whose target depends on who
// follows it.
func NewDynamicLink(target func(c vfs.Caller) (string, abi.Errno)) *Link {
	l := &Link{Target: target}
	l.Init(unix.S_IFLNK | 0777)
	return l
}

// Readlink is vfs.Inode's.
func (l *Link) Readlink(c vfs.Caller) (string, abi.Errno) { return l.Target(c) }

// Magic is a link that leads to a file itself.
type Magic struct {
	Node
	Text func(c vfs.Caller) (string, abi.Errno)
	// To gives the file, pinned.
	To func(c vfs.Caller) (vfs.Path, abi.Errno)
}

// Readlink is vfs.Inode's.
func (m *Magic) Readlink(c vfs.Caller) (string, abi.Errno) { return m.Text(c) }

// Target is vfs.MagicLink's.
func (m *Magic) Target(c vfs.Caller) (vfs.Path, abi.Errno) { return m.To(c) }
