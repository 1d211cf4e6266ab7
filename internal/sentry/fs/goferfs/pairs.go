package goferfs

import (
	"strings"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// pairs watches for a task that looks at one file of a shared directory after
// another, and opens each (git add, tar, cp -r): after some, a look brings the
// descriptor too, and the open needs no message. All are hints.
type pairs struct {
	looked atomic.Pointer[look] // the last look, until its open
	opened atomic.Pointer[look] // an open whose own look is still to come
	count  atomic.Int32         // how many in a row were opened
}

type look struct {
	c    vfs.Caller
	name string
}

func (l *look) is(c vfs.Caller, name string) bool { return l != nil && l.c == c && l.name == name }

// pairsWanted is how many files must have been opened behind a look at them.
const pairsWanted = 3

// opens notes that c is about to open name.
func (p *pairs) opens(c vfs.Caller, name string) {
	if l := p.looked.Swap(nil); l.is(c, name) {
		p.count.Add(1)
		p.opened.Store(l)
	}
}

// looks notes that c looks at name, and tells whether it is likely to open it.
func (p *pairs) looks(c vfs.Caller, name string) bool {
	if p.opened.Swap(nil).is(c, name) {
		return false // for the open itself
	}
	if p.looked.Swap(&look{c, strings.Clone(name)}) != nil {
		p.count.Store(0) // the one before was not opened
	}
	return p.count.Load() >= pairsWanted
}

// missed notes that a descriptor was brought for nothing.
func (p *pairs) missed() { p.count.Store(0) }
