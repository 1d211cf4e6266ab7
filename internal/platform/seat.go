package platform

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Seat is a thread of the Sentry that serves guest threads, one at a time.
type Seat struct {
	tid int
	cpu atomic.Int32 // that it is pinned to, -1 none
}

// NewSeat makes the calling thread one: its goroutine is locked to it.
func NewSeat() *Seat {
	s := &Seat{tid: unix.Gettid()}
	s.cpu.Store(-1)
	return s
}

// TID is the host's thread id.
func (s *Seat) TID() int { return s.tid }

// Pin puts the thread on cpu; -1: on any.
func (s *Seat) Pin(cpu int) {
	if sched.cpus < 2 || int(s.cpu.Load()) == cpu {
		return
	}
	mask := sched.all
	if cpu >= 0 {
		mask = 1 << uint(cpu)
	}
	pinThread(s.tid, mask)
	s.cpu.Store(int32(cpu))
}

// interrupt ends the thread's sleep in a futex, by the Go runtime's own signal,
// which does nothing else.
func (s *Seat) interrupt() { unix.Tgkill(os.Getpid(), s.tid, unix.SIGURG) }

// leave puts the thread on any CPU but this one.
func (s *Seat) leave(cpu int) {
	pinThread(s.tid, sched.all&^(1<<uint(cpu)))
	s.cpu.Store(-1)
}
