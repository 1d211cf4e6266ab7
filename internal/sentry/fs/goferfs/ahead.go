package goferfs

import (
	"cmp"
	"slices"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/wire"
)

// ahead are a directory's entries that came before they were asked for.
type ahead struct {
	entries []*entry
	next    uint64 // the cookie to go on from
	done    bool
	light   bool // files came without attributes
}

// enough tells whether what was read ahead will do: not if it lacks the
// attributes that are being asked for.
func (a *ahead) enough(fs *FS) bool { return a != nil && !(a.light && fs.statted.Load() > 0) }

// aheadNames is how many directories one request names.
const aheadNames = 64

// readAhead reads i, whose parent has been read too, so that somebody walks the
// tree: together with the directories that such a walk comes to next, as far as
// one message reaches.
func (i *inode) readAhead() {
	up, name := i.where()
	if up == nil || !up.read.Load() {
		return
	}
	i.mu.Lock()
	have := i.ahead.enough(i.fs)
	i.mu.Unlock()
	if have {
		return
	}
	wanted := up.walkFrom(name)
	if len(wanted) == 0 {
		return
	}
	sections := i.fs.walk(up, wanted)
	for _, s := range sections {
		a := s.ahead // apart from the rest, which may go before it
		if s.parent != wire.FSWalkNamed {
			sections[s.parent].entries[s.index].ahead = &a
			continue
		}
		up.gets(wanted[s.index], &a)
	}
}

// gets gives e, an entry of up, what was read ahead of it.
func (up *inode) gets(e *entry, a *ahead) {
	up.mu.Lock()
	defer up.mu.Unlock()
	if e.ino == nil {
		e.ahead = a
		return
	}
	e.ino.mu.Lock()
	defer e.ino.mu.Unlock()
	if e.ino.dir == nil {
		e.ino.ahead = a
	}
}

// where gives the one directory i stands in, nil if there is none.
func (i *inode) where() (*inode, string) {
	i.fs.client.mu.Lock()
	defer i.fs.client.mu.Unlock()
	if len(i.places) != 1 {
		return nil, ""
	}
	return i.places[0].dir, i.places[0].name
}

// walkFrom gives the entry of name and those of the directories behind it, as
// long as nothing is known of them.
func (i *inode) walkFrom(name string) (out []*entry) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dir == nil || !i.dir.complete {
		return nil
	}
	first := i.dir.index()[name]
	if first == nil {
		return nil
	}
	order := i.dir.order
	at, _ := slices.BinarySearchFunc(order, first.cookie, func(e *entry, c int64) int { return cmp.Compare(e.cookie, c) })
	for _, e := range order[at:] {
		if len(out) == aheadNames {
			break
		}
		if !e.removed && e.typ == unix.DT_DIR && !e.known(i.fs) {
			out = append(out, e)
		}
	}
	if len(out) == 0 || out[0] != first {
		return nil
	}
	return out
}

// known tells whether something is known already of a directory. Its parent's
// mu is held.
func (e *entry) known(fs *FS) bool {
	if e.ino == nil {
		return e.ahead.enough(fs)
	}
	e.ino.mu.Lock()
	defer e.ino.mu.Unlock()
	return e.ino.ahead.enough(fs) || e.ino.dir != nil
}

// section is a directory of a reply to FSWalk.
type section struct {
	ahead
	parent, index uint32
}

// walk asks for the directories wanted, in up.
func (fs *FS) walk(up *inode, wanted []*entry) []section {
	var out []section
	r := request{op: wire.FSWalk, ino: up}
	light := fs.light()
	if light {
		r.flag = wire.FSLight
	}
	e := fs.call(r, func(e *wire.Encoder) {
		e.U32(uint32(len(wanted)))
		for _, w := range wanted {
			e.Str(w.name)
		}
	}, func(d *wire.Decoder, _ int) abi.Errno {
		out = decodeWalk(d, uint32(len(wanted)), light)
		return 0
	})
	if e != 0 {
		return nil // the directory will be asked for by itself
	}
	return out
}

// decodeWalk reads the sections; a reply that makes no sense gives none.
func decodeWalk(d *wire.Decoder, names uint32, light bool) (out []section) {
	n := d.U32()
	for k := range n {
		s := section{parent: d.U32(), index: d.U32()}
		h := d.ListHeader()
		s.next, s.done, s.light = h.Next, h.Done, light
		s.entries = decodeEntries(d, h.Count, nil)
		switch {
		case d.Bad,
			!s.done && k > 0,
			s.parent == wire.FSWalkNamed && s.index >= names,
			s.parent != wire.FSWalkNamed && (s.parent >= k || s.index >= uint32(len(out[s.parent].entries))):
			d.Bad = true
			return nil
		}
		out = append(out, s)
	}
	return out
}
