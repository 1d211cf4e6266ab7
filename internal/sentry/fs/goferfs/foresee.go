package goferfs

import (
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// foreseen is the answer for one name of a shared directory that a walk has
// asked for before it came there, with the rest of its path. It is the walk's
// own: nobody else uses it, and any change of the directory by the guest
// drops it.
type foreseen struct {
	c     vfs.Caller
	name  string
	entry *entry    // nil: e tells why
	e     abi.Errno // 0, ENOENT
	at    int64
	guess bool // nobody has asked for it: a file that will be opened, perhaps
}

// Foresee asks for all components of path in one message, unless the first is
// a directory that is trusted to be where it was; open: the last one is about
// to be opened for reading. vfs.Foreseer.
func (i *inode) Foresee(c vfs.Caller, path string, open bool) {
	if !i.fs.shared {
		return
	}
	names := plainNames(path)
	if open && len(names) == 1 {
		i.pairs.opens(c, names[0])
	}
	if len(names) == 0 || i.seen.Load().answers(c, names[0]) || i.trusted(names[0]) {
		return
	}
	open = open && len(strings.Trim(path, "/")) == len(strings.Join(names, "/"))
	if len(names) == 1 {
		if open && !i.opened(names[0]) {
			e, err := i.ask(names[0], true)
			i.foresee(c, names[0], e, err)
		}
		return
	}
	entries, absent := i.resolve(names, open)
	dir := i
	for _, e := range entries {
		if dir == nil {
			e.drop()
			continue
		}
		next := dir.expect(e)
		dir.foresee(c, e.name, e, 0)
		dir = next
	}
	if absent && dir != nil {
		dir.foresee(c, strings.Clone(names[len(entries)]), nil, unix.ENOENT)
	}
}

// trusted tells whether name leads to a directory that was found there a
// moment ago.
func (i *inode) trusted(name string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.cache().index()[name]
	return e != nil && e.ino != nil && e.ino.isDir() && ktime.Mono()-e.ino.checked.Load() < dirTrust
}

// opened tells whether there is a descriptor already of the file that name led
// to.
func (i *inode) opened(name string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	e := i.cache().index()[name]
	return e != nil && e.ino != nil && e.ino.host.Load() != nil
}

// expect gives the inode of a directory that e tells of, nil if e is none.
func (i *inode) expect(e *entry) *inode {
	if e.attr.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	d := i.cache()
	if old := d.index()[e.name]; old != nil && old.ino != nil && old.ino.same(e.attr) {
		e.ino = old.ino
		return old.ino
	}
	d.remove(e.name)
	d.add(e)
	return i.instance(e)
}

// foresee keeps an answer for the walk of c.
func (i *inode) foresee(c vfs.Caller, name string, e *entry, err abi.Errno) {
	if err != 0 && err != unix.ENOENT {
		return
	}
	drop(i.seen.Swap(&foreseen{c: c, name: name, entry: e, e: err, at: ktime.Mono()}))
}

// unforesee drops what was foreseen: the guest changes the directory.
func (i *inode) unforesee() {
	drop(i.takeSeen())
}

// takeSeen takes what was foreseen; nil if there is nothing, or another task was
// faster.
func (i *inode) takeSeen() *foreseen {
	if i.seen.Load() == nil { // the usual case, without a write
		return nil
	}
	return i.seen.Swap(nil)
}

// answers tells whether f is what the walk of c is to know of name.
func (f *foreseen) answers(c vfs.Caller, name string) bool {
	return f != nil && f.c == c && f.name == name && ktime.Mono()-f.at < dirTrust
}

func drop(f *foreseen) {
	if f != nil && f.entry != nil {
		f.entry.drop()
	}
}

// answer gives what the walk of c has foreseen for name, once, or asks.
func (i *inode) answer(c vfs.Caller, name string) (*entry, abi.Errno) {
	if f := i.takeSeen(); f != nil {
		if f.answers(c, name) {
			return f.entry, f.e
		}
		drop(f)
		if f.guess {
			i.pairs.missed()
		}
	}
	if !i.pairs.looks(c, name) {
		return i.ask(name, false)
	}
	e, err := i.ask(name, true)
	if err == 0 && e.opened != nil {
		again := &entry{name: e.name, target: e.target, attr: e.attr, num: e.num, typ: e.typ, opened: e.opened}
		e.opened = nil
		drop(i.seen.Swap(&foreseen{c: c, name: e.name, entry: again, at: ktime.Mono(), guess: true}))
	}
	return e, err
}
