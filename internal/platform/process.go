package platform

import (
	"sync"

	"golang.org/x/sys/unix"
)

// Process is a host process that runs guest code, a child of the Sentry.
type Process struct {
	p   *Platform
	pid int // host pid, constant

	mu      sync.Mutex
	dead    bool
	status  unix.WaitStatus // how it ended
	threads []*Thread       // told of the death
}

// PID is the host's pid, for process_vm_readv(2) and accounting.
func (p *Process) PID() int { return p.pid }

// Kill ends the host process at once.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead {
		unix.Kill(p.pid, unix.SIGKILL)
	}
}

// Dead tells whether the host process was reaped.
func (p *Process) Dead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

func (p *Process) add(t *Thread) {
	p.mu.Lock()
	p.threads = append(p.threads, t)
	dead := p.dead
	p.mu.Unlock()
	if dead {
		t.markDead()
	}
}

func (p *Process) remove(t *Thread) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, x := range p.threads {
		if x == t {
			p.threads = append(p.threads[:i], p.threads[i+1:]...)
			return
		}
	}
}

// EndedBy gives the signal that ended the host process, or -1.
func (p *Process) EndedBy() unix.Signal {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead || !p.status.Signaled() {
		return -1
	}
	return p.status.Signal()
}

// died is called once the host process was reaped: nothing of it runs any more.
func (p *Process) died(ws unix.WaitStatus) {
	p.mu.Lock()
	p.dead, p.status = true, ws
	threads := append([]*Thread(nil), p.threads...)
	p.mu.Unlock()
	for _, t := range threads {
		t.markDead()
		if !t.acked.Load() {
			go t.nag()
		}
	}
}

// Idle tells whether no thread of the process is left to the Sentry.
func (p *Process) Idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.threads) == 0
}
