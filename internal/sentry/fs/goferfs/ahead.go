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
	light   bool   // files came without attributes
	changes uint64 // the Client's, when they were asked for
}

// enough tells whether what was read ahead will do: not if it lacks the
// attributes that are being asked for.
func (a *ahead) enough(fs *FS) bool { return a != nil && !(a.light && fs.statted.Load() > 0) }

// takeAhead gives what was read ahead of e, unless the guest has changed
// anything since it was asked for.
func (e *entry) takeAhead(fs *FS) *ahead {
	if e.ahead.Load() == nil {
		return nil
	}
	a := e.ahead.Swap(nil)
	if a != nil && a.changes != fs.client.changes.Load() {
		return nil
	}
	return a
}

// A request names at most so many directories; a reply holds fewer, mostly.
const (
	aheadNames = 512
	aheadBytes = 16 << 10
)

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
	i.fs.client.settle()
	if i.arrived(up, name) {
		return
	}
	if wanted := up.walkFrom(name); len(wanted) > 0 {
		i.fs.walk(walk{ino: up, wanted: wanted})
		i.arrived(up, name)
	}
}

// arrived takes what was read ahead of i, which stands in up.
func (i *inode) arrived(up *inode, name string) bool {
	up.mu.Lock()
	defer up.mu.Unlock()
	if up.dir == nil {
		return false
	}
	e := up.dir.index()[name]
	if e == nil || e.ino != i {
		return false
	}
	a := e.takeAhead(i.fs)
	if !a.enough(i.fs) {
		return false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dir == nil || !i.dir.complete {
		i.ahead = a
	}
	return true
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
	size := 0
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
		if size += len(e.name) + 2; len(out) == aheadNames || size > aheadBytes {
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
		return e.ahead.Load().enough(fs)
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

// walk is a request for directories below ino, in the directory path.
type walk struct {
	ino    *inode
	path   string
	wanted []*entry
}

// encode appends the directories' names.
func (w *walk) encode(e *wire.Encoder) {
	e.U32(uint32(len(w.wanted)))
	for _, d := range w.wanted {
		e.Str(d.name)
	}
}

// walk asks for directories. Who has come to the end of one message before is
// probably walking the whole tree: the next one is asked for already, and will
// be here when it is needed.
func (fs *FS) walk(w walk) {
	r, light := w.request()
	_ = fs.call(r, w.encode, func(d *wire.Decoder, _ int) abi.Errno {
		if s := w.take(d, light); fs.walked.Swap(true) {
			fs.follow(w, s)
		}
		return 0 // or the directory will be asked for by itself
	})
}

func (w *walk) request() (r request, light bool) {
	r = request{op: wire.FSWalk, ino: w.ino, name: w.path}
	if light = w.ino.fs.light(); light {
		r.flag = wire.FSLight
	}
	return r, light
}

// take gives the directories what was read ahead of them.
func (w *walk) take(d *wire.Decoder, light bool) []section {
	changes := w.ino.fs.client.changes.Load()
	sections := decodeWalk(d, uint32(len(w.wanted)), light)
	for _, s := range sections {
		a := s.ahead // apart from the rest, which may go before it
		a.changes = changes
		if s.parent != wire.FSWalkNamed {
			sections[s.parent].entries[s.index].ahead.Store(&a)
		} else {
			w.wanted[s.index].ahead.Store(&a)
		}
	}
	return sections
}

// follow sends the request for what comes behind sections, in the order of a
// walk; its reply is read by whoever next asks for something. Client.mu is held.
func (fs *FS) follow(w walk, sections []section) {
	if c := fs.client; len(sections) == 0 || c.Spare != nil && !c.Spare() {
		return
	}
	next, ok := w.next(sections)
	if !ok {
		return
	}
	r, light := next.request()
	fs.client.send(r, next.encode, func(d *wire.Decoder) {
		if s := next.take(d, light); fs.client.more {
			fs.follow(next, s)
		}
	})
}

// next finds the directories that a walk comes to behind the last of sections.
func (w *walk) next(sections []section) (walk, bool) {
	s := &sections[len(sections)-1]
	if !s.done {
		return walk{}, false // one large directory, which goes on by itself
	}
	if d := directories(s.entries); len(d) > 0 {
		return walk{w.ino, w.pathOf(sections, s), d}, true
	}
	for s.parent != wire.FSWalkNamed {
		up := &sections[s.parent]
		if d := directories(up.entries[s.index+1:]); len(d) > 0 {
			return walk{w.ino, w.pathOf(sections, up), d}, true
		}
		s = up
	}
	d := directories(w.wanted[s.index+1:])
	return walk{w.ino, w.path, d}, len(d) > 0
}

// pathOf gives the path of a section from w.ino on.
func (w *walk) pathOf(sections []section, s *section) string {
	if s.parent == wire.FSWalkNamed {
		return join(w.path, w.wanted[s.index].name)
	}
	up := &sections[s.parent]
	return join(w.pathOf(sections, up), up.entries[s.index].name)
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// directories picks those of entries, as many as a request may name.
func directories(entries []*entry) (out []*entry) {
	size := 0
	for _, e := range entries {
		if e.typ != unix.DT_DIR {
			continue
		}
		if size += len(e.name) + 2; len(out) == aheadNames || size > aheadBytes {
			break
		}
		out = append(out, e)
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
