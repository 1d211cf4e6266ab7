package hostfile

import (
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// poller watches host descriptors, edge-triggered, for all files.
type poller struct {
	once  sync.Once
	epfd  int
	mu    sync.Mutex
	files map[int32]*Inode
}

var watch poller

func (p *poller) start() {
	p.epfd = -1
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return
	}
	p.epfd = fd
	p.files = map[int32]*Inode{}
	go p.run()
}

// add begins to watch f; false: its kind is always ready.
func (p *poller) add(f *Inode) bool {
	p.once.Do(p.start)
	if p.epfd < 0 {
		return false
	}
	p.mu.Lock()
	p.files[int32(f.host)] = f
	p.mu.Unlock()
	ev := unix.EpollEvent{Fd: int32(f.host), Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLPRI | unix.EPOLLRDHUP | 1<<31} // EPOLLET
	if err := unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, f.host, &ev); err != nil {
		p.forget(f)
		return false
	}
	return true
}

// remove ends it, before the descriptor is closed.
func (p *poller) remove(f *Inode) {
	unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, f.host, nil)
	p.forget(f)
}

func (p *poller) forget(f *Inode) {
	p.mu.Lock()
	delete(p.files, int32(f.host))
	p.mu.Unlock()
}

func (p *poller) run() {
	events := make([]unix.EpollEvent, 16)
	for {
		n, e := epollWait(p.epfd, events)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return
		}
		for i := range n {
			p.mu.Lock()
			f := p.files[events[i].Fd]
			p.mu.Unlock()
			if f != nil {
				f.q.Notify(mask(events[i].Events))
			}
		}
	}
}

// mask turns host events into waiters': readiness comes with the bands of
// ordinary data.
func mask(ev uint32) uint32 {
	ev &= waiter.All
	if ev&waiter.In != 0 {
		ev |= waiter.RdNorm
	}
	if ev&waiter.Out != 0 {
		ev |= waiter.WrNorm
	}
	return ev
}
