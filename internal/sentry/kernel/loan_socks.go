package kernel

import (
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// box is a lent socket's place in the memory of a task's stub: vfs.Box.
type box struct {
	th   *platform.Thread
	i    int
	num  int32
	fd   *vfs.FileDescription // only compared
	sock vfs.BoxLender
	l    *sockLoans
	live atomic.Bool
	used bool // since the last look for an idle one (own goroutine)
}

func (b *box) Begin() {
	b.th.LendBox(b.i, b.num, b.l.t.settlePosted)
	b.live.Store(true)
}

func (b *box) End() {
	if b.live.Swap(false) {
		b.th.EndBox(b.i)
	}
}

func (b *box) Posted() bool        { return b.th.BoxPosted(b.i) }
func (b *box) Take(buf []byte) int { return b.th.TakeBox(b.i, buf) }
func (b *box) Note(p []byte)       { b.th.NoteBox(b.i, p) }
func (b *box) Taken() bool         { return b.th.BoxTaken(b.i) }
func (b *box) Drop() bool          { return b.th.DropBox(b.i) }

// sockLoans are a task's boxes, and the epoll instance that its stub was lent:
// vfs.Poster, vfs.CtlBorrower. Fields without a note are the own goroutine's.
type sockLoans struct {
	t     *Task
	th    *platform.Thread // while boxes or ctl are lent
	byNum [platform.BoxFDs]*box
	hand  int // where the search for an idle box goes on

	seen  [platform.BoxFDs]*vfs.FileDescription // written to last; only compared
	times [platform.BoxFDs]uint8

	ep    epollLender
	epNum int32
	epFD  *vfs.FileDescription // only compared
	ctls  int                  // in the present window
	since uint32               // the thread's events at its start
	busy  int                  // windows in a row in which epoll_ctl prevailed

	boxes [platform.Boxes]atomic.Pointer[box]

	mu       sync.Mutex // one settles what was posted, for others
	settling atomic.Bool
}

// epollLender is an epoll instance.
type epollLender interface {
	Lend(c vfs.Caller, num int32, fd *vfs.FileDescription, b vfs.CtlBorrower) bool
	EndLoan()
	SettleCtl()
}

func (t *Task) sockLoans() *sockLoans {
	l := &t.plat.loans
	if l.socks == nil {
		l.socks = &sockLoans{t: t}
	}
	return l.socks
}

// wroteSocket is WroteSmall of a socket.
func (t *Task) wroteSocket(num int32, fd *vfs.FileDescription, s vfs.BoxLender) {
	if num >= platform.BoxFDs || t.k.watchCalls || t.WatchesCalls() {
		return
	}
	l := t.sockLoans()
	if l.seen[num] != fd {
		l.seen[num], l.times[num] = fd, 0
		return
	}
	if b := l.byNum[num]; b != nil && b.fd == fd && b.live.Load() {
		b.used = true
		return
	}
	if l.times[num]++; l.times[num] < loanAfter {
		return
	}
	l.times[num] = 0
	l.lend(num, fd, s)
}

func (l *sockLoans) lend(num int32, fd *vfs.FileDescription, s vfs.BoxLender) {
	if b := l.byNum[num]; b != nil {
		l.drop(b)
	}
	i := l.room()
	if i < 0 {
		return
	}
	l.begin()
	b := &box{th: l.th, i: i, num: num, fd: fd, sock: s, l: l, used: true}
	if !l.t.fds.LendBox(num, fd, s, b) {
		s.RecallBox(b) // none of its words is looked at any more
		return
	}
	l.byNum[num] = b
	l.boxes[i].Store(b)
}

// room finds a box that nobody has, or has not used for long; -1: none.
func (l *sockLoans) room() int {
	for range platform.Boxes {
		i := l.hand
		l.hand = (l.hand + 1) % platform.Boxes
		b := l.boxes[i].Load()
		if b == nil {
			return i
		}
		if !b.live.Load() || !b.used {
			l.drop(b)
			return i
		}
		b.used = false
	}
	return -1
}

// drop ends the loan of a box.
func (l *sockLoans) drop(b *box) {
	b.sock.RecallBox(b)
	l.boxes[b.i].Store(nil)
	if l.byNum[b.num] == b {
		l.byNum[b.num] = nil
	}
}

// begin comes before the first loan from the task's present thread.
func (l *sockLoans) begin() {
	if l.th == nil {
		l.th = l.t.plat.th.Load()
		vfs.AddPoster(l)
	}
}

// end ends all loans: the slot may go.
func (l *sockLoans) end() {
	for i := range l.boxes {
		if b := l.boxes[i].Load(); b != nil {
			l.drop(b)
		}
	}
	if l.ep != nil {
		l.ep.EndLoan()
		l.ep = nil
	}
	if l.th != nil {
		vfs.RemovePoster(l)
		l.th = nil
	}
	clear(l.seen[:])
	l.epFD, l.ctls, l.busy = nil, 0, 0
}

// settle does what the stub has posted (own goroutine).
func (l *sockLoans) settle() {
	if l.th == nil {
		return
	}
	if l.th.BoxBits() != 0 {
		l.SettlePosts()
	}
	if l.ep != nil && l.th.CtlPosted() {
		l.ep.SettleCtl()
	}
}

// Pending and SettlePosts: vfs.Poster.
func (l *sockLoans) Pending() bool { return l.th.BoxBits() != 0 || l.settling.Load() }

func (l *sockLoans) SettlePosts() {
	l.mu.Lock()
	l.settling.Store(true)
	platform.EachBox(l.th.TakeBoxBits(), func(i int) {
		if b := l.boxes[i].Load(); b != nil {
			b.sock.SettleBox()
		}
	})
	l.settling.Store(false)
	l.mu.Unlock()
}

// ReadAhead notes that epoll_wait(2) tells of something to read from num, which was
// fd when the instance was told of it (own goroutine).
func (t *Task) ReadAhead(num int32, fd *vfs.FileDescription) {
	l := t.plat.loans.socks
	if l == nil || num < 0 || num >= platform.BoxFDs {
		return
	}
	if b := l.byNum[num]; b != nil && b.fd == fd && b.live.Load() {
		b.used = true
		b.sock.NoteBox(b)
	}
}

// An instance is lent when of mostEvents calls in a row ctlWindow were epoll_ctl on
// it, twice.
const (
	ctlWindow  = 32
	mostEvents = 60
)

// UsedCtl notes an epoll_ctl(2) of ep, which is fd, the task's num (own goroutine).
func (t *Task) UsedCtl(num int32, fd *vfs.FileDescription, ep epollLender) {
	if t.k.watchCalls || t.WatchesCalls() {
		return
	}
	l := t.sockLoans()
	if l.epFD != fd || l.epNum != num {
		l.epFD, l.epNum, l.ctls, l.busy = fd, num, 0, 0
	}
	th := t.plat.th.Load()
	if l.ctls == 0 {
		l.since = th.Events()
	}
	if l.ctls++; l.ctls < ctlWindow {
		return
	}
	// Where other calls prevail (wrk), two that work for each other only sleep more
	// often: nginx served a tenth less. A program's start is not what it does.
	l.ctls = 0
	if l.busy++; th.Events()-l.since > mostEvents {
		l.busy = 0
	}
	if l.busy < 2 || num >= platform.BoxFDs {
		return
	}
	if l.ep != nil {
		l.ep.EndLoan()
		l.ep = nil
	}
	l.begin()
	if ep.Lend(t, num, fd, l) {
		l.ep = ep
	}
}

func (l *sockLoans) Ready() { l.th.ReadyCtl(l.t.settlePosted) }
func (l *sockLoans) Begin() { l.th.LendCtl(l.epNum, l.t.settlePosted) }
func (l *sockLoans) End()   { l.th.EndCtl() }

func (l *sockLoans) SetCtl(fd int32, known, in bool) {
	state := platform.CtlUnknown
	if known && in {
		state = platform.CtlIn
	} else if known {
		state = platform.CtlOut
	}
	l.th.SetCtl(fd, state)
}

func (l *sockLoans) TakeCtl() (vfs.CtlOp, bool) {
	op, ok := l.th.TakeCtl()
	return vfs.CtlOp(op), ok
}

func (l *sockLoans) Has(fd int32, d *vfs.FileDescription) bool { return l.t.fds.Has(fd, d) }
