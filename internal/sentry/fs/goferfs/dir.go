package goferfs

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/wire"
)

// dirCache is what is known of a directory's entries.
type dirCache struct {
	entries  map[string]*entry // by name; nil until index makes it
	order    []*entry          // ascending cookies; once the whole directory is known
	gone     int               // removed entries that still stand in order
	last     int64             // the last cookie given
	complete bool              // a name that is not here does not exist
	asked    int               // names asked for one by one
	missing  string            // a name that Prefetch did not find
}

// entry is a name with the attributes that came with it, if any did. Once there
// is an inode, that has them.
type entry struct {
	name    string
	target  string
	attr    *wire.FSAttr // nil: the name, number and type alone are known
	num     uint64
	typ     uint8 // DT_*
	ino     *inode
	cookie  int64
	removed bool
	ahead   atomic.Pointer[ahead] // of a directory: its entries, read ahead
	opened  *opened
}

// opened is what came with a regular file that was looked up by itself.
type opened struct {
	host   *hostFD
	xattrs []string
}

const (
	firstCookie = 2 // "." is 1, ".." is 2
	// smallDir is the size up to which a directory is read as a whole after
	// askSmall names were asked for one by one; bigger ones after askLimit.
	smallDir = 4096
	askSmall = 3
	askLimit = 8
)

// cache gives the directory's cache. mu is held.
func (i *inode) cache() *dirCache {
	if i.dir == nil {
		i.dir = &dirCache{last: firstCookie}
	}
	return i.dir
}

// index gives the entries by name. A directory that is read, and no more, goes
// without it.
func (d *dirCache) index() map[string]*entry {
	if d.entries != nil {
		return d.entries
	}
	d.entries = make(map[string]*entry, len(d.order))
	for _, e := range d.order {
		if !e.removed {
			d.entries[e.name] = e
		}
	}
	return d.entries
}

// add enters e. In a complete directory it stands last.
func (d *dirCache) add(e *entry) {
	d.missing = ""
	d.index()[e.name] = e
	if d.complete {
		d.last++
		e.cookie = d.last
		d.order = append(d.order, e)
	}
}

// remove forgets name.
func (d *dirCache) remove(name string) {
	e := d.index()[name]
	if e == nil {
		return
	}
	delete(d.entries, name)
	e.removed = true
	if !d.complete {
		return
	}
	d.gone++
	if d.gone > 32 && d.gone > len(d.order)/2 {
		d.order = slices.DeleteFunc(d.order, func(e *entry) bool { return e.removed })
		d.gone = 0
	}
}

// Lookup finds name: from what is known, or by asking.
func (i *inode) Lookup(c vfs.Caller, name string) (vfs.Inode, abi.Errno) {
	i.mu.Lock()
	defer i.mu.Unlock()
	d := i.cache()
	if i.fs.shared {
		return i.lookupShared(c, d, name)
	}
	e := d.index()[name]
	if e == nil && d.missing == name {
		return nil, unix.ENOENT
	}
	if e == nil && !d.complete && (i.ahead != nil || d.wanted(i)) {
		if err := i.load(d, false); err != 0 {
			return nil, err
		}
		e = d.index()[name]
	}
	if e == nil && !d.complete {
		d.asked++
		var err abi.Errno
		if e, err = i.ask(name, true); err != 0 {
			return nil, err
		}
		d.add(e)
	}
	if e == nil {
		return nil, unix.ENOENT
	}
	if e.ino == nil && e.attr == nil {
		if err := i.fill(d, e); err != 0 {
			return nil, err
		}
	}
	return i.instance(e), 0
}

// wanted tells whether so many names were asked for that the rest of the
// directory comes cheaper now.
func (d *dirCache) wanted(i *inode) bool {
	return d.asked >= askLimit || d.asked >= askSmall && i.attr.Size <= smallDir
}

// fill learns the attributes of e, and perhaps those of the whole directory.
func (i *inode) fill(d *dirCache, e *entry) abi.Errno {
	i.fs.statted.Store(statsAhead)
	if d.wanted(i) {
		order, err := i.list(ahead{}, false)
		if err != 0 {
			return err
		}
		for _, n := range order {
			if old := d.index()[n.name]; old != nil && old.attr == nil && old.num == n.num {
				old.attr, old.target = n.attr, n.target
			}
		}
		if e.attr != nil {
			return 0
		}
	}
	d.asked++
	n, err := i.ask(e.name, true)
	if err == unix.ENOENT {
		d.remove(e.name)
	}
	if err != 0 {
		return err
	}
	e.attr, e.target, e.num, e.typ, e.opened = n.attr, n.target, n.num, n.typ, n.opened
	return 0
}

// statsAhead is how many messages have all attributes after a file was looked
// up in a directory that had been read: whoever walks a tree and looks at the
// files too will do so in the next directory.
const statsAhead = 16

// light tells whether a directory that is read is to come without the
// attributes of its files.
func (fs *FS) light() bool {
	if fs.statted.Load() <= 0 {
		return true
	}
	fs.statted.Add(-1)
	return false
}

// lookupShared asks for name, and keeps the inode if it is still the same.
func (i *inode) lookupShared(c vfs.Caller, d *dirCache, name string) (vfs.Inode, abi.Errno) {
	n, err := i.answer(c, name)
	if err != 0 {
		d.remove(name)
		return nil, err
	}
	if old := d.index()[name]; old != nil && old.ino != nil && old.ino.same(n.attr) {
		i.found(old.ino, n)
		return old.ino, 0
	}
	d.remove(name)
	d.add(n)
	ch := i.instance(n)
	i.found(ch, n)
	return ch, 0
}

// found notes that ch was just seen where n says.
func (i *inode) found(ch *inode, n *entry) {
	now := ktime.Mono()
	ch.checked.Store(now)
	ch.fetched.Store(now)
	if n.opened != nil {
		i.fs.keepOpened(ch, n.opened)
		n.opened = nil
	}
}

// same tells whether a is of the same file; its attributes are taken over.
func (i *inode) same(a *wire.FSAttr) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.attr.Ino != a.Ino || i.attr.Dev != a.Dev || (i.attr.Mode^a.Mode)&unix.S_IFMT != 0 || a.Mode&unix.S_IFMT == unix.S_IFLNK {
		return false
	}
	i.setAttr(a)
	return true
}

// dirTrust is how long a directory of a shared mount is taken to be where it was
// found: a burst of walks through it asks once.
const dirTrust = int64(time.Millisecond)

// Revalidate asks whether a name of a shared mount still leads where it did.
func (i *inode) Revalidate(c vfs.Caller, name string, child vfs.Inode) bool {
	ch, ok := child.(*inode)
	if ok && ch.isDir() && ktime.Mono()-ch.checked.Load() < dirTrust {
		return true
	}
	n, err := i.answer(c, name)
	if err != 0 {
		return child == nil && err == unix.ENOENT
	}
	switch {
	case !ok:
	case ch.mode.Load()&unix.S_IFMT == unix.S_IFLNK:
		return n.attr.Ino == ch.ino.Load() && n.target == ch.target
	case ch.same(n.attr):
		i.found(ch, n)
		return true
	}
	// What was learned will be asked for again, in Lookup.
	i.foresee(c, strings.Clone(name), n, 0)
	return false
}

// keepOpened gives i a descriptor that came with its name.
func (fs *FS) keepOpened(i *inode, o *opened) {
	i.mu.Lock()
	mine := i.host.Load() == nil
	if mine {
		i.host.Store(o.host)
		i.xattrs = &o.xattrs
	} else {
		o.host.put()
	}
	i.mu.Unlock()
	if mine {
		fs.idle.add(i)
	}
}

// ask looks one name up; open: a regular file is opened too, for an exclusive
// mount, where the answer lasts, or who is about to read it.
func (i *inode) ask(name string, open bool) (*entry, abi.Errno) {
	n := &entry{}
	r := request{op: wire.FSStat, ino: i, name: name}
	if open {
		r.flag = wire.FSStatOpen
	}
	e := i.fs.call(r, nil, func(d *wire.Decoder, fd int) abi.Errno {
		n.take(d)
		n.target = string(d.Str())
		if fd >= 0 {
			n.opened = &opened{newHostFD(fd, false), decodeNames(d)}
		}
		return 0
	})
	if e == unix.ESTALE {
		e = unix.ENOENT
	}
	if e != 0 {
		return nil, e
	}
	n.name = strings.Clone(name)
	return n, 0
}

// take reads attributes into e.
func (e *entry) take(d *wire.Decoder) {
	e.attr = new(wire.FSAttr)
	d.Attr(e.attr)
	e.num, e.typ = e.attr.Ino, uint8(e.attr.Mode>>12)
}

// instance gives e's inode. mu of the directory is held.
func (i *inode) instance(e *entry) *inode {
	if e.ino == nil {
		e.ino = i.fs.fileOf(place{i, e.name}, e.attr, e.target)
		if i.fs.statted.Load() > 0 && !e.ino.isDir() {
			i.fs.statted.Store(statsAhead)
		}
		if a := e.takeAhead(i.fs); a != nil {
			e.ino.mu.Lock()
			e.ino.ahead = a
			e.ino.mu.Unlock()
		}
	}
	if e.opened != nil {
		i.fs.keepOpened(e.ino, e.opened)
		e.opened = nil
	}
	return e.ino
}

// load reads the whole directory. mu is held.
func (i *inode) load(d *dirCache, light bool) abi.Errno {
	known := d.entries
	var from ahead
	if i.ahead != nil {
		from, i.ahead = *i.ahead, nil
	}
	order, e := i.list(from, light)
	if e != 0 {
		return e
	}
	d.entries = nil
	d.order, d.gone, d.last = order, 0, firstCookie
	for k, n := range order {
		d.last++
		n.cookie = d.last
		if old := known[n.name]; old != nil && old.ino != nil {
			old.cookie = n.cookie
			d.order[k] = old
		}
	}
	d.complete = true
	i.whole.Store(true)
	return 0
}

// list asks for all entries of a directory, in as many messages as it takes,
// from where a reading ahead has left off; light: without the attributes of
// files.
func (i *inode) list(from ahead, light bool) ([]*entry, abi.Errno) {
	all := from.entries
	if from.done {
		return all, 0
	}
	r := request{op: wire.FSList, ino: i}
	if light {
		r.flag = wire.FSLight
	}
	for cookie := from.next; ; {
		var h wire.FSListHeader
		e := i.fs.call(r, func(e *wire.Encoder) { e.U64(cookie) }, func(d *wire.Decoder, _ int) abi.Errno {
			h = d.ListHeader()
			all = decodeEntries(d, h.Count, all)
			return 0
		})
		if e != 0 {
			return nil, e
		}
		if h.Done {
			return all, 0
		}
		if h.Next == cookie {
			return nil, unix.EIO
		}
		cookie = h.Next
	}
}

// decodeEntries appends a message's entries to all. They share two allocations,
// but for attributes.
func decodeEntries(d *wire.Decoder, count uint32, all []*entry) []*entry {
	if count > wire.MaxFSMessage/8 {
		d.Bad = true
		return all
	}
	slab := make([]entry, count)
	names := make([]byte, 0, 32*count)
	var ends [][2]int
	if cap(all) == 0 {
		all = make([]*entry, 0, count)
	}
	ends = make([][2]int, 0, count)
	for k := range slab {
		e := &slab[k]
		light := d.U8() == wire.FSEntryLight
		if light {
			e.typ, e.num = d.U8(), d.U64()
		} else {
			e.take(d)
		}
		names = append(names, d.Str()...)
		mid := len(names)
		if !light {
			names = append(names, d.Str()...)
		}
		ends = append(ends, [2]int{mid, len(names)})
	}
	if d.Bad {
		return all
	}
	text, from := string(names), 0
	for k := range slab {
		slab[k].name, slab[k].target = text[from:ends[k][0]], text[ends[k][0]:ends[k][1]]
		from = ends[k][1]
		all = append(all, &slab[k])
	}
	return all
}

// Forget gives the attributes back to the directory's entry, when no dentry
// leads to the inode any more.
func (i *inode) Forget() {
	fs := i.fs
	i.mu.Lock()
	attr, stale := i.attr, i.stale
	i.dir, i.ahead = nil, nil
	i.unforesee()
	i.whole.Store(false)
	i.read.Store(false)
	fs.client.mu.Lock()
	var up *inode
	var name string
	if len(i.places) == 1 {
		up, name = i.places[0].dir, i.places[0].name
	}
	fs.client.mu.Unlock()
	i.mu.Unlock()
	fs.mu.Lock()
	delete(fs.links, fileID{attr.Dev, attr.Ino})
	fs.mu.Unlock()
	if h := i.host.Load(); h != nil {
		fs.idle.forget(i)
	}
	if up == nil {
		return
	}
	up.mu.Lock()
	defer up.mu.Unlock()
	if up.dir == nil {
		return
	}
	if e := up.dir.index()[name]; e != nil && e.ino == i && !stale {
		e.attr, e.ino = &attr, nil
	}
}

// Open gives the operations on the file.
func (i *inode) Open(c vfs.Caller, fd *vfs.FileDescription) (vfs.File, abi.Errno) {
	switch i.mode.Load() & unix.S_IFMT {
	case unix.S_IFDIR:
		return &dirFile{i: i}, 0
	case unix.S_IFREG:
		return i.openFile(fd)
	}
	return nil, unix.ENXIO
}

// dirFile reads a directory. Of a shared one it keeps what it read when it
// began.
type dirFile struct {
	vfs.FileDefaults
	i     *inode
	order []*entry
}

func (f *dirFile) Seekable() bool { return true }

// Read of a directory is EISDIR.
func (f *dirFile) Read(vfs.Caller, *vfs.FileDescription, []byte, int64) (int, abi.Errno) {
	return 0, unix.EISDIR
}

// Seek knows no end.
func (f *dirFile) Seek(vfs.Caller, *vfs.FileDescription, int64, int) (int64, abi.Errno) {
	return 0, unix.EINVAL
}

// Sync writes the directory back.
func (f *dirFile) Sync(vfs.Caller, *vfs.FileDescription, bool) abi.Errno {
	if f.i.fs.readonly {
		return 0
	}
	return f.i.fs.call(request{op: wire.FSSync, ino: f.i}, nil, nil)
}

// ReadDir emits the entries behind off.
func (f *dirFile) ReadDir(c vfs.Caller, fd *vfs.FileDescription, off int64, emit func(vfs.Dirent) bool) abi.Errno {
	i := f.i
	if !i.fs.shared && !i.whole.Load() {
		i.readAhead()
	}
	i.read.Store(true)
	i.mu.Lock()
	defer i.mu.Unlock()
	order, e := f.entries(off)
	if e != 0 {
		return e
	}
	if off == 0 {
		if !emit(vfs.Dirent{Name: ".", Ino: i.attr.Ino, Type: unix.DT_DIR, Next: 1}) {
			return 0
		}
		off = 1
	}
	if off == 1 {
		if !emit(vfs.Dirent{Name: "..", Ino: parentIno(fd, i), Type: unix.DT_DIR, Next: firstCookie}) {
			return 0
		}
		off = firstCookie
	}
	at, _ := slices.BinarySearchFunc(order, off+1, func(e *entry, c int64) int { return cmp.Compare(e.cookie, c) })
	for _, e := range order[at:] {
		if e.removed {
			continue
		}
		if !emit(vfs.Dirent{Name: e.name, Ino: e.num, Type: e.typ, Next: e.cookie}) {
			return 0
		}
	}
	return 0
}

// entries gives the directory in order. i.mu is held.
func (f *dirFile) entries(off int64) ([]*entry, abi.Errno) {
	i := f.i
	if !i.fs.shared {
		d := i.cache()
		if !d.complete {
			if e := i.load(d, i.fs.light()); e != 0 {
				return nil, e
			}
		}
		return d.order, 0
	}
	if off == 0 || f.order == nil {
		order, e := i.list(ahead{}, true)
		if e != 0 {
			return nil, e
		}
		for k, n := range order {
			n.cookie = firstCookie + 1 + int64(k)
		}
		f.order = order
	}
	return f.order, 0
}

// parentIno is the number of ".." for a directory read through fd.
func parentIno(fd *vfs.FileDescription, i *inode) uint64 {
	if p := fd.Path.Dentry.Parent(); p != nil {
		if up, ok := p.Inode().(*inode); ok {
			return up.ino.Load()
		}
	}
	return i.ino.Load()
}
