package agent

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// Errors that become the codes of agentpb.
var (
	errNotFound   = errors.New("is not there")
	errExists     = errors.New("is there already")
	errState      = errors.New("is not in a state for that")
	errInvalid    = errors.New("is not valid")
	errNoTerminal = fmt.Errorf("%w: the process has no terminal", errState)
)

// keepExecs is how many ended processes of a container are remembered.
const keepExecs = 1024

// container is one from Create to Remove.
type container struct {
	id     string
	config *agentpb.Container
	cgroup *cgroup
	devpts int // root of its devpts instance, or -1
	mounts int // its mount namespace, held so that its end is not init's to wait for; or -1

	storages []*storage // under Agent.storageMu

	mu      sync.Mutex
	init    *process // nil while it is being made
	started bool
	removed bool
	execs   map[string]*process
	order   []string // of execs
}

// find gives a container that is made.
func (a *Agent) find(id string) (*container, error) {
	a.mu.Lock()
	c := a.containers[id]
	a.mu.Unlock()
	if c == nil {
		return nil, fmt.Errorf("container %s %w", id, errNotFound)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.init == nil {
		return nil, fmt.Errorf("container %s %w: it is being made", id, errState)
	}
	return c, nil
}

// process gives one of a container's.
func (a *Agent) process(id, exec string) (*container, *process, error) {
	c, err := a.find(id)
	if err != nil {
		return nil, nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if exec == "" {
		return c, c.init, nil
	}
	p := c.execs[exec]
	if p == nil {
		return nil, nil, fmt.Errorf("process %s of container %s %w", exec, id, errNotFound)
	}
	return c, p, nil
}

// addExec remembers an exec'ed process, and forgets the oldest that ended.
func (c *container) addExec(p *process) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.execs[p.id] = p
	c.order = append(c.order, p.id)
	for len(c.order) > keepExecs {
		old := c.execs[c.order[0]]
		if old != nil && !old.ended() {
			return
		}
		delete(c.execs, c.order[0])
		c.order = c.order[1:]
	}
}

// spawn forks, and enters the child where the reaper finds it.
func (a *Agent) spawn(p *process, fork func() (*child, error)) error {
	a.reapMu.Lock()
	defer a.reapMu.Unlock()
	c, err := fork()
	if err != nil {
		return err
	}
	if p != nil {
		p.child = c
		p.done = make(chan struct{})
		a.processes[c.pid] = p
	}
	select {
	case a.spawned <- struct{}{}:
	default:
	}
	return nil
}

// reap waits for every child for as long as the agent lives. What is not in
// the table was a helper, or an orphan that the kernel gave to PID 1.
func (a *Agent) reap() {
	for {
		var st unix.WaitStatus
		pid, err := unix.Wait4(-1, &st, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECHILD:
			<-a.spawned
			continue
		case err != nil:
			panic(fmt.Sprintf("wait4: %v", err))
		}
		a.reapMu.Lock()
		p := a.processes[pid]
		delete(a.processes, pid)
		a.reapMu.Unlock()
		if p != nil {
			a.exited(p, st)
		}
	}
}

// exited records a status. What a container's first process leaves behind, in
// a PID namespace that it does not own, dies with it.
func (a *Agent) exited(p *process, st unix.WaitStatus) {
	p.status = uint32(st)
	if sig := p.killedBy.Load(); sig != 0 && st.Signaled() && st.Signal() == unix.SIGKILL {
		p.status = sig
	}
	p.exitedAt = time.Now()
	p.endNamespace()
	close(p.done)
	if p.id == "" {
		a.event(&agentpb.Event{Kind: agentpb.Event_EXIT, ContainerId: p.container, Status: p.status})
	}
}
