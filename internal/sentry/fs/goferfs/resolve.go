package goferfs

import (
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/wire"
)

// Prefetch asks for the components of path in one message, if nothing is known
// of the first: vfs.Prefetcher.
func (i *inode) Prefetch(path string) {
	names := plainNames(path)
	if i.fs.shared || len(names) < 2 || !i.unknown(names[0]) {
		return
	}
	entries, absent := i.resolve(names, true)
	dir := i
	for k, e := range entries {
		if dir = dir.learn(e); dir == nil || !dir.isDir() && k+1 < len(entries) {
			return
		}
	}
	if absent && dir.isDir() {
		dir.mu.Lock()
		if d := dir.cache(); !d.complete && d.index()[names[len(entries)]] == nil {
			d.missing = strings.Clone(names[len(entries)])
			d.asked++
		}
		dir.mu.Unlock()
	}
}

// plainNames splits a path up to the first component that is not a name.
func plainNames(path string) []string {
	var room [16]string
	names := room[:0]
	for len(names) < cap(names) && path != "" {
		name, rest, _ := strings.Cut(path, "/")
		path = strings.TrimLeft(rest, "/")
		if name == "" || name == "." || name == ".." || len(name) > 255 {
			break
		}
		names = append(names, name)
	}
	return names
}

// unknown tells whether the Gofer would have to be asked for name alone.
func (i *inode) unknown(name string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	d := i.cache()
	return !d.complete && i.ahead == nil && !d.wanted(i) && d.missing != name && d.index()[name] == nil
}

// learn enters e into the directory, unless its name is known, and gives the
// inode of that name; nil if that is not of the same file.
func (i *inode) learn(e *entry) *inode {
	i.mu.Lock()
	defer i.mu.Unlock()
	d := i.cache()
	old := d.index()[e.name]
	switch {
	case old == nil && !d.complete:
		d.asked++
		d.add(e)
		return i.instance(e)
	case old != nil && old.num == e.num && old.attr != nil:
		e.drop()
		return i.instance(old)
	}
	e.drop()
	return nil
}

// drop closes what came with an entry that is not needed.
func (e *entry) drop() {
	if e.opened != nil {
		e.opened.host.put()
		e.opened = nil
	}
}

// resolve asks for the names below each other. absent: the one behind those
// that were found does not exist. With open a regular file at the end is opened.
func (i *inode) resolve(names []string, open bool) (entries []*entry, absent bool) {
	r := request{op: wire.FSResolve, ino: i}
	if open {
		r.flag = wire.FSStatOpen
	}
	e := i.fs.call(r, func(e *wire.Encoder) { e.Str(strings.Join(names, "/")) },
		func(d *wire.Decoder, fd int) abi.Errno {
			n := d.U32()
			for k := uint32(0); k < n && k < uint32(len(names)) && !d.Bad; k++ {
				en := &entry{name: strings.Clone(names[k])}
				en.take(d)
				en.target = string(d.Str())
				entries = append(entries, en)
			}
			absent = d.U8() == 1
			if fd < 0 {
				return 0
			}
			if last := len(entries) - 1; last == len(names)-1 && entries[last].attr.Mode&unix.S_IFMT == unix.S_IFREG && !d.Bad {
				entries[last].opened = &opened{newHostFD(fd, false), decodeNames(d)}
			} else {
				unix.Close(fd)
			}
			return 0
		})
	if e != 0 {
		for _, en := range entries {
			en.drop()
		}
		return nil, e == unix.ENOENT
	}
	return entries, absent
}
