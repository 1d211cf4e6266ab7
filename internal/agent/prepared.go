package agent

import (
	"fmt"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// A snapshot may hold a container that is made but for its process: cgroup,
// storages, namespaces and mounts are there, and its first process waits for
// the rest of its script, which says who it is and what it executes. A clone
// then translates the code of none of that. What one sandbox must not learn of
// another (arguments, environment, filter, random numbers) is not in the
// snapshot: it comes with Create.

// prepared is such a container.
type prepared struct {
	c    *container
	p    *process
	page *page
}

// prepareContainer makes it. It is no container that a request finds until it
// is adopted.
func (a *Agent) prepareContainer(req *agentpb.CreateRequest) error {
	if err := checkCreate(req); err != nil {
		return err
	}
	if req.Container.Process.Terminal {
		return fmt.Errorf("process.terminal %w: a container that is prepared has none", errInvalid)
	}
	pg, err := newPage()
	if err != nil {
		return err
	}
	c := &container{id: req.ContainerId, config: req.Container, devpts: -1, mounts: -1, execs: make(map[string]*process)}
	a.mu.Lock()
	a.containers[c.id] = c
	a.mu.Unlock()
	p := &process{container: c.id}
	err = a.assemble(c, &builder{a: a, c: c, config: c.config, p: p, streams: req.Streams, devpts: -1, page: pg})
	if err != nil {
		a.discard(c)
		pg.close()
		return err
	}
	a.watchMemory(c)
	a.mu.Lock()
	a.prepared = &prepared{c, p, pg}
	a.mu.Unlock()
	return nil
}

// adopt makes the prepared container that of the request.
func (a *Agent) adopt(req *agentpb.CreateRequest) (*agentpb.Started, error) {
	a.mu.Lock()
	x, session := a.prepared, a.session
	if x != nil && x.c.id == req.ContainerId {
		a.prepared = nil
	}
	a.mu.Unlock()
	if x == nil || x.c.id != req.ContainerId {
		return nil, fmt.Errorf("container %s %w: the snapshot has none of that name", req.ContainerId, errState)
	}
	if err := checkProcess(req.Container.GetProcess()); err != nil {
		return nil, err
	}
	if err := a.configure(req.Sandbox); err != nil {
		return nil, err
	}
	c, p := x.c, x.p
	config := c.config
	config.Process, config.Seccomp, config.Personality = req.Container.Process, req.Container.Seccomp, req.Container.Personality
	err := p.stdio.attach(session, req.Streams, config.Process)
	if err == nil {
		err = a.name(x, !req.Start)
	}
	if err == nil && req.Start {
		err = p.run()
	}
	// The page stays mapped: to take it away would cost more than it holds.
	if err != nil {
		p.child.kill()
		p.child.close()
		<-p.done
		a.discard(c)
		return started(p, err)
	}
	say("container %s: adopted", c.id)
	c.mu.Lock()
	c.init, c.started = p, req.Start
	c.mu.Unlock()
	return started(p, nil)
}

// name says to the process that waits who it is. look says whether to see that
// its program is there: who starts it at once is told by execve.
func (a *Agent) name(x *prepared, look bool) error {
	config := x.c.config
	if look {
		fd, err := unix.Open(fmt.Sprintf("/proc/%d/root", x.p.pid()), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("the prepared container's root: %w", err)
		}
		defer unix.Close(fd)
		b := &builder{a: a, c: x.c, config: config, p: x.p, root: tree(fd)}
		if err := b.findProgram(); err != nil {
			return err
		}
	}
	s := &script{page: x.page}
	s.stage2(config.Process, config.Personality, config.Seccomp, a.lastCap)
	if err := s.deliver(); err != nil {
		return err
	}
	x.p.child.script = s
	return adjust(x.p.pid(), config.Process)
}
