package agent

import (
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// checkCreate refuses what could not be made, before anything is.
func checkCreate(req *agentpb.CreateRequest) error {
	c := req.Container
	switch {
	case !validName(req.ContainerId):
		return fmt.Errorf("container_id %q %w", req.ContainerId, errInvalid)
	case c == nil || c.Root.GetStorage() == nil:
		return fmt.Errorf("container %w: it has no root", errInvalid)
	}
	if c.Namespaces == nil {
		c.Namespaces = &agentpb.Namespaces{}
	}
	for i, m := range c.Mounts {
		if err := checkMount(m); err != nil {
			return fmt.Errorf("mounts[%d] %w: %v", i, errInvalid, err)
		}
	}
	if c.Seccomp != nil && (len(c.Seccomp.Filter) == 0 || len(c.Seccomp.Filter)%8 != 0 || len(c.Seccomp.Filter) > 8*4096) {
		return fmt.Errorf("seccomp.filter %w", errInvalid)
	}
	return checkProcess(c.Process)
}

func checkProcess(p *agentpb.Process) error {
	if p == nil || len(p.Args) == 0 || p.Args[0] == "" {
		return fmt.Errorf("process %w: it has no args", errInvalid)
	}
	if p.Cwd == "" {
		p.Cwd = "/"
	}
	for _, c := range p.Cpus {
		if c >= 1024 {
			return fmt.Errorf("process.cpus %w: %d", errInvalid, c)
		}
	}
	return nil
}

// create makes a container, and starts it if the request says so.
func (a *Agent) create(req *agentpb.CreateRequest) (*agentpb.Started, error) {
	if req.Prepared {
		return a.adopt(req)
	}
	if err := checkCreate(req); err != nil {
		return nil, err
	}
	if err := a.prepare(); err != nil {
		return nil, err
	}
	if err := a.configure(req.Sandbox); err != nil {
		return nil, err
	}
	c := &container{id: req.ContainerId, config: req.Container, devpts: -1, mounts: -1, execs: make(map[string]*process)}
	a.mu.Lock()
	if a.containers[c.id] != nil {
		a.mu.Unlock()
		return nil, fmt.Errorf("container %s %w", c.id, errExists)
	}
	a.containers[c.id] = c
	session := a.session
	a.mu.Unlock()
	p := &process{container: c.id}
	err := a.assemble(c, &builder{a: a, c: c, config: c.config, p: p, session: session, streams: req.Streams, devpts: -1})
	if err == nil && req.Start {
		err = p.run()
	}
	if err != nil {
		a.discard(c)
		return started(p, err)
	}
	say("container %s: made", c.id)
	c.mu.Lock()
	c.init, c.started = p, req.Start
	c.mu.Unlock()
	a.watchMemory(c)
	a.behind()
	return started(p, nil)
}

// assemble makes a container's cgroup, storages and process.
func (a *Agent) assemble(c *container, b *builder) error {
	var err error
	if c.cgroup, err = a.takeCgroup(c.id); err != nil {
		return err
	}
	if err := c.cgroup.apply(c.config.Resources); err != nil {
		return err
	}
	if err := c.cgroup.setDevices(c.config.Resources.GetDevices()); err != nil {
		return err
	}
	if err := a.takeStorages(c); err != nil {
		return err
	}
	say("container %s: its storages are mounted", c.id)
	if err := a.build(b); err != nil {
		return err
	}
	return nil
}

// takeStorages mounts what the root and the volumes are on; the root's is the
// first of the list.
func (a *Agent) takeStorages(c *container) error {
	a.storageMu.Lock()
	defer a.storageMu.Unlock()
	list := []*agentpb.Storage{c.config.Root.Storage}
	for _, m := range c.config.Mounts {
		if m.Bind == nil {
			continue
		}
		if m.Bind.Storage != nil {
			list = append(list, m.Bind.Storage)
		} else if _, err := a.sharedDir(m.Bind.SharedDir, m.Bind.SharedSize); err != nil {
			return err
		}
	}
	for _, s := range list {
		st, err := a.useStorage(s)
		if err != nil {
			return err
		}
		c.storages = append(c.storages, st)
	}
	return nil
}

// discard takes a container away, whatever there is of it.
func (a *Agent) discard(c *container) {
	if c.cgroup != nil {
		if err := c.cgroup.remove(); err != nil {
			say("container %s: %v", c.id, err)
		}
		c.cgroup.close()
	}
	if c.mounts >= 0 {
		unix.Close(c.mounts)
	}
	a.storageMu.Lock()
	for _, st := range c.storages {
		a.dropStorage(st)
	}
	c.storages = nil
	a.storageMu.Unlock()
	if c.devpts >= 0 {
		unix.Close(c.devpts)
	}
	a.mu.Lock()
	delete(a.containers, c.id)
	a.mu.Unlock()
}

// started is the answer about a process; a program that cannot be executed is
// no error.
func started(p *process, err error) (*agentpb.Started, error) {
	var e *scriptError
	if errors.As(err, &e) && e.exec {
		return &agentpb.Started{Errno: uint32(e.errno), Error: e.Error()}, nil
	}
	if err != nil {
		return nil, err
	}
	return &agentpb.Started{Pid: uint32(p.pid())}, nil
}

// run lets a process that is made execute its program.
func (p *process) run() error {
	defer p.child.close()
	if err := p.child.proceed(); err != nil {
		return err
	}
	if err := p.child.next(); err != io.EOF {
		if err == nil {
			err = errChildGone
		}
		return err
	}
	return nil
}

// start starts a container that was created.
func (a *Agent) start(req *agentpb.StartRequest) (*agentpb.Started, error) {
	c, p, err := a.process(req.ContainerId, "")
	if err != nil {
		return nil, err
	}
	if err := a.configure(req.Sandbox); err != nil {
		return nil, err
	}
	c.mu.Lock()
	again := c.started
	c.started = true
	c.mu.Unlock()
	if again || p.ended() {
		return nil, fmt.Errorf("container %s %w: it was started, or has ended", c.id, errState)
	}
	return started(p, p.run())
}

// exec runs one more process in a container.
func (a *Agent) exec(req *agentpb.ExecRequest) (*agentpb.Started, error) {
	if !validName(req.ExecId) {
		return nil, fmt.Errorf("exec_id %q %w", req.ExecId, errInvalid)
	}
	if err := checkProcess(req.Process); err != nil {
		return nil, err
	}
	c, first, err := a.process(req.ContainerId, "")
	if err != nil {
		return nil, err
	}
	if first.ended() {
		return nil, fmt.Errorf("container %s %w: its first process has ended", c.id, errState)
	}
	c.mu.Lock()
	have := c.execs[req.ExecId]
	c.mu.Unlock()
	if have != nil && !have.ended() {
		return nil, fmt.Errorf("process %s of container %s %w", req.ExecId, c.id, errExists)
	}
	p := &process{container: c.id, id: req.ExecId}
	a.mu.Lock()
	session := a.session
	a.mu.Unlock()
	p.stdio, err = newStdio(session, req.Streams, req.Process, func() (int, int, error) { return a.newPTY(c.devpts) })
	if err != nil {
		return nil, err
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		err := a.forkExec(c, first, p, req.Process)
		if err == nil {
			runtime.UnlockOSThread() // else it may be in the wrong PID namespace
		}
		done <- err
	}()
	if err := <-done; err != nil {
		p.stdio.close()
		return nil, err
	}
	p.stdio.start()
	err = p.child.reach()
	if err == nil {
		err = adjust(p.pid(), req.Process)
	}
	if err == nil {
		err = p.run()
	}
	if err != nil {
		p.child.kill()
		p.child.close()
		<-p.done
		unix.Close(p.child.pidfd)
		return started(p, err)
	}
	c.addExec(p)
	return started(p, nil)
}

// forkExec makes the child of an exec: it joins the namespaces of the
// container's first process.
func (a *Agent) forkExec(c *container, first, p *process, config *agentpb.Process) error {
	s, report, start, err := newScript()
	if err != nil {
		return err
	}
	ns := uintptr(unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP)
	if c.config.Namespaces.User {
		ns |= unix.CLONE_NEWUSER
	}
	s.wait()
	s.add("joining the container's namespaces", unix.SYS_SETNS, uintptr(first.child.pidfd), ns)
	if c.config.Namespaces.User {
		s.add("root of the user namespace", unix.SYS_SETRESGID, 0, 0, 0).may()
		s.add("root of the user namespace", unix.SYS_SETRESUID, 0, 0, 0).may()
	}
	s.stage1(p.stdio)
	s.stage2(config, c.config.Personality, c.config.Seccomp, a.lastCap)
	cgroup, closeIt := a.execCgroup(c, first)
	defer closeIt()
	err = a.spawn(p, func() (*child, error) { return a.forkInto(first, s, 0, cgroup, report, start) })
	s.closeChildEnds()
	if err != nil {
		report.Close()
		start.Close()
	}
	return err
}

// execCgroup is the container's cgroup; if it has cgroups below that took its
// controllers, processes may be in leaves alone, and init's is taken.
func (a *Agent) execCgroup(c *container, first *process) (int, func()) {
	raw, _ := readFile(c.cgroup.dir + "/cgroup.subtree_control")
	if raw == "" {
		return c.cgroup.fd, func() {}
	}
	line, _ := readFile(fmt.Sprintf("/proc/%d/cgroup", first.pid()))
	const v2 = "0::"
	if len(line) > len(v2) && line[:len(v2)] == v2 {
		fd, err := unix.Open(cgroupRoot+line[len(v2):], unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err == nil {
			return fd, func() { unix.Close(fd) }
		}
	}
	return c.cgroup.fd, func() {}
}

// wait waits for a process, for as long as the host does.
func (a *Agent) wait(id, exec string, give <-chan struct{}) (*agentpb.WaitResponse, error) {
	c, p, err := a.process(id, exec)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.done:
	case <-give:
		return nil, fmt.Errorf("waiting for container %s was given up", id)
	}
	return &agentpb.WaitResponse{Status: p.status, ExitedAt: p.exitedAt.UnixNano(), OomKilled: c.cgroup.oomKills() > 0}, nil
}

// remove ends a container and takes it away.
func (a *Agent) remove(id string) error {
	a.mu.Lock()
	c := a.containers[id]
	a.mu.Unlock()
	if c == nil {
		return nil
	}
	c.mu.Lock()
	if c.init == nil || c.removed {
		c.mu.Unlock()
		return fmt.Errorf("container %s %w: it is being made or removed", id, errState)
	}
	c.removed = true
	all := []*process{c.init}
	for _, p := range c.execs {
		all = append(all, p)
	}
	c.mu.Unlock()
	if err := c.cgroup.kill(); err != nil {
		return err
	}
	for _, p := range all {
		select {
		case <-p.done:
			unix.Close(p.child.pidfd)
		case <-time.After(10 * time.Second):
			c.mu.Lock()
			c.removed = false
			c.mu.Unlock()
			return fmt.Errorf("container %s: process %d does not end", id, p.pid())
		}
	}
	a.discard(c)
	return nil
}

// signal sends a signal to one process, a group, or all.
func (a *Agent) signal(req *agentpb.SignalRequest) error {
	if req.Signal > 64 {
		return fmt.Errorf("signal %d %w", req.Signal, errInvalid)
	}
	sig := unix.Signal(req.Signal)
	c, p, err := a.process(req.ContainerId, req.ExecId)
	if err != nil {
		return err
	}
	if req.All {
		return c.signalAll(sig)
	}
	if req.Pid != 0 {
		pid, err := c.vmPid(int(req.Pid))
		if err != nil {
			return err
		}
		return kill(pid, sig, req.Group)
	}
	if p.ended() {
		return fmt.Errorf("process %w: it has ended", errNotFound)
	}
	if p.id == "" && c.config.InitKillable && p.namespace.Load() == nil && endsInit(p.pid(), sig) {
		p.killedBy.Store(req.Signal)
		sig = unix.SIGKILL
	}
	if req.Group {
		return kill(p.pid(), sig, true)
	}
	if err := unix.PidfdSendSignal(p.child.pidfd, sig, nil, 0); err != nil {
		return fmt.Errorf("signal %d: %w", sig, err)
	}
	return nil
}

func kill(pid int, sig unix.Signal, group bool) error {
	if group {
		pid = -pid
	}
	if err := unix.Kill(pid, sig); err != nil {
		if err == unix.ESRCH {
			return fmt.Errorf("process %w", errNotFound)
		}
		return fmt.Errorf("signal %d: %w", sig, err)
	}
	return nil
}

func (c *container) signalAll(sig unix.Signal) error {
	if sig == unix.SIGKILL {
		return c.cgroup.kill()
	}
	pids, err := c.cgroup.procs()
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, sig); err != nil && err != unix.ESRCH {
			return fmt.Errorf("signal %d: %w", sig, err)
		}
	}
	return nil
}
