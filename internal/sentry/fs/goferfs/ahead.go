package goferfs

import (
	"cmp"
	"slices"
	"strings"

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
	if w := up.walkFrom(name); w != nil {
		i.fs.walk(w)
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

// walkFrom gives the walk that begins at name, and goes on behind it, in i and then
// in the directories above; nil if something is known of name already.
func (i *inode) walkFrom(name string) *walk {
	first, found := i.untold(name)
	if !found {
		return nil
	}
	w := &walk{fs: i.fs, levels: []level{{i, "", first}}}
	for n := len(first); n < aheadNames; {
		up, name := i.where()
		if up == nil || !up.read.Load() {
			break
		}
		behind, found := up.untold(name)
		if found {
			behind = behind[1:]
		}
		w.levels = append(w.levels, level{up, "", behind})
		n += len(behind)
		i = up
	}
	return w
}

// untold gives the directories from name on of which nothing is known; found: name
// is the first.
func (i *inode) untold(name string) (out []*entry, found bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.dir == nil || !i.dir.complete {
		return nil, false
	}
	first := i.dir.index()[name]
	if first == nil {
		return nil, false
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
	return out, len(out) > 0 && out[0] == first
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

// walk is what a walk of the tree comes to: the rest of a directory, then of that
// above it, and so on. A request names the first of it.
type walk struct {
	fs     *FS
	levels []level
	asked  []step // the directories that the request names
}

// level is the rest of the directory path below ino: some of entries may be files.
type level struct {
	ino     *inode
	path    string
	entries []*entry
}

// step is entry at of a walk's level.
type step struct{ level, at int }

func (w *walk) entry(s step) *entry { return w.levels[s.level].entries[s.at] }

// ask picks the directories that one request names.
func (w *walk) ask() {
	size := 0
	for k, l := range w.levels {
		for at, e := range l.entries {
			if e.typ != unix.DT_DIR {
				continue
			}
			if size += len(e.name) + 2; len(w.asked) == aheadNames || size > aheadBytes {
				return
			}
			w.asked = append(w.asked, step{k, at})
		}
	}
}

// encode appends the directories' names, for each level its path before them.
// Client.mu is held.
func (w *walk) encode(e *wire.Encoder) {
	at := len(e.B)
	e.U32(0)
	groups := uint32(0)
	for k := 0; k < len(w.asked); groups++ {
		l := w.asked[k].level
		n := k
		for n < len(w.asked) && w.asked[n].level == l {
			n++
		}
		if !w.fs.client.putPath(w.levels[l].ino, w.levels[l].path) {
			e.Full = true // it has no place any more: nothing is asked
			return
		}
		e.U32(uint32(n - k))
		for ; k < n; k++ {
			e.Str(w.entry(w.asked[k]).name)
		}
	}
	e.PutU32(at, groups)
}

// walk asks for directories. Who has come to the end of one message before is
// probably walking the whole tree: the next one is asked for already, and will
// be here when it is needed.
func (fs *FS) walk(w *walk) {
	w.ask()
	r, light := w.request()
	_ = fs.call(r, w.encode, func(d *wire.Decoder, _ int) abi.Errno {
		if s := w.take(d, light); fs.walked.Swap(true) {
			fs.follow(w, s)
		}
		return 0 // or the directory will be asked for by itself
	})
}

func (w *walk) request() (r request, light bool) {
	r = request{op: wire.FSWalk, ino: w.fs.root}
	if light = w.fs.light(); light {
		r.flag = wire.FSLight
	}
	return r, light
}

// take gives the directories what was read ahead of them.
func (w *walk) take(d *wire.Decoder, light bool) []section {
	changes := w.fs.client.changes.Load()
	sections := decodeWalk(d, uint32(len(w.asked)), light)
	for _, s := range sections {
		a := s.ahead // apart from the rest, which may go before it
		a.changes = changes
		if s.parent != wire.FSWalkNamed {
			sections[s.parent].entries[s.index].ahead.Store(&a)
		} else {
			w.entry(w.asked[s.index]).ahead.Store(&a)
		}
	}
	return sections
}

// follow sends the request for what comes behind sections, in the order of a
// walk; its reply is read by whoever next asks for something. Client.mu is held.
func (fs *FS) follow(w *walk, sections []section) {
	if c := fs.client; len(sections) == 0 || c.Spare != nil && !c.Spare() {
		return
	}
	next := w.behind(sections)
	if next.ask(); len(next.asked) == 0 {
		return
	}
	r, light := next.request()
	fs.client.send(r, next.encode, func(d *wire.Decoder) {
		if s := next.take(d, light); fs.client.more {
			fs.follow(next, s)
		}
	})
}

// behind gives what a walk comes to behind the last of sections.
func (w *walk) behind(sections []section) *walk {
	next := &walk{fs: w.fs}
	add := func(l level) {
		if len(l.entries) > 0 {
			next.levels = append(next.levels, l)
		}
	}
	s := &sections[len(sections)-1]
	if s.done { // or it is a large directory, which goes on by itself
		add(w.levelOf(sections, s, s.entries))
	}
	for s.parent != wire.FSWalkNamed {
		up := &sections[s.parent]
		add(w.levelOf(sections, up, up.entries[s.index+1:]))
		s = up
	}
	at := w.asked[s.index]
	l := w.levels[at.level]
	add(level{l.ino, l.path, l.entries[at.at+1:]})
	for _, l := range w.levels[at.level+1:] {
		add(l)
	}
	return next
}

// levelOf is the level of a section's directory with the rest of its entries.
func (w *walk) levelOf(sections []section, s *section, rest []*entry) level {
	names := []string{}
	for s.parent != wire.FSWalkNamed {
		up := &sections[s.parent]
		names = append(names, up.entries[s.index].name)
		s = up
	}
	at := w.asked[s.index]
	names = append(names, w.entry(at).name)
	l := w.levels[at.level]
	if l.path != "" {
		names = append(names, l.path)
	}
	slices.Reverse(names)
	return level{l.ino, strings.Join(names, "/"), rest}
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
