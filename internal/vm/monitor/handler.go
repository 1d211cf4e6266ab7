package monitor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/ttrpc"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"bulkhead.dev/bulkhead/internal/wire"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// The methods of wire.ControlHandler.

// callWait bounds a call to the agent that waits for nothing in the guest but
// the agent itself. Under TCG and load a simple one may take a second.
const callWait = 60 * time.Second

// proc is a process in the guest.
type proc struct {
	id     string // its exec id, "" for init
	io     *stdio
	done   chan struct{} // closed when it has ended and its output is out
	status uint32
	oom    bool // the guest's kernel has killed in its container for memory
}

func (m *monitor) call() (context.Context, context.CancelFunc) {
	return context.WithTimeout(m.ctx, callWait)
}

// Start runs init.
func (m *guestContainer) Start(args wire.StartArgs, fds []int) error {
	for _, fd := range fds {
		unix.Close(fd) // packet sockets are for a Sentry
	}
	m.mu.Lock()
	if m.begun {
		m.mu.Unlock()
		return &wire.ControlError{Message: "the container has been started already", Errno: int(unix.EBUSY)}
	}
	m.begun = true
	m.mu.Unlock()
	var network *agentpb.Network
	if !m.isMember() {
		var err error
		if network, err = m.joinNetwork(args.Network); err != nil {
			return err
		}
	}
	ctx, cancel := m.call()
	defer cancel()
	req := &agentpb.StartRequest{ContainerId: m.id}
	if network != nil {
		req.Sandbox = &agentpb.Sandbox{Network: network}
	}
	st, err := m.agent.Start(ctx, req)
	if err == nil && st.Errno != 0 && !m.isMember() {
		m.finish(127, nil)
	}
	if err := startError("start", st, err); err != nil {
		return err
	}
	m.initRuns()
	return nil
}

// initRuns begins to wait for init.
func (m *guestContainer) initRuns() {
	m.mu.Lock()
	p := m.procs[""]
	m.mu.Unlock()
	close(m.started)
	go func() {
		if err := m.await(p); err != nil {
			return // the VM is dead; watch tells it
		}
		if m.isMember() {
			return // its own process waits, and ends
		}
		m.syncVolumes()
		m.finish(exitCode(p.status), m.outOfMemory(p))
	}()
}

// outOfMemory says why init was killed, if it was for memory.
func (m *guestContainer) outOfMemory(p *proc) error {
	if ws := unix.WaitStatus(p.status); !p.oom || !ws.Signaled() || ws.Signal() != unix.SIGKILL {
		return nil
	}
	if limit := m.conf.Limits.MemoryBytes; limit > 0 {
		return fmt.Errorf("the guest's kernel has killed the container's processes for want of memory: they may have %d MiB; give them more (--memory, linux.resources.memory.limit)", limit>>20)
	}
	return fmt.Errorf("the guest's kernel has killed the container's processes for want of memory: the VM has %d MiB; give it more (--memory, dev.bulkhead.vm.memory)", m.memory>>20)
}

// await waits for a process of the guest and its output, and notes the status. One
// that cannot be waited for is gone with its container, or with the VM.
func (m *guestContainer) await(p *proc) error {
	defer close(p.done)
	res, err := m.agent.Wait(m.ctx, &agentpb.WaitRequest{ContainerId: m.id, ExecId: p.id})
	if err != nil {
		p.status = uint32(unix.SIGKILL)
		p.io.abort()
		return err
	}
	p.status, p.oom = res.Status, res.OomKilled
	p.io.drain()
	p.io.release()
	return nil
}

// maxProcs bounds the exec'ed processes that nobody has waited for.
const maxProcs = 4096

// Exec runs one more process.
func (m *guestContainer) Exec(args wire.ExecArgs, fds []int) (res wire.ExecResult, err error) {
	if len(fds) != 3 {
		for _, fd := range fds {
			unix.Close(fd)
		}
		return res, &wire.ControlError{Message: "a process in a VM gets three descriptors: open files of the host cannot be passed to it", Errno: int(unix.EINVAL)}
	}
	p := &args.Process
	in, out, errout := fileOf(fds[0]), fileOf(fds[1]), stderrOf(p, fds[2])
	if m.isPaused() {
		closeFiles(in, out, errout)
		return res, &wire.ControlError{Message: "the VM is paused: a process can be made in it after resume", Errno: int(unix.EAGAIN)}
	}
	if p.Terminal {
		if p.Rows == 0 && p.Cols == 0 && in != nil {
			if ws, err := unix.IoctlGetWinsize(int(in.Fd()), unix.TIOCGWINSZ); err == nil {
				p.Rows, p.Cols = ws.Row, ws.Col
			}
		}
	}
	stdio, err := m.joinStdio(p.Terminal, in, out, errout)
	if err != nil {
		return res, err
	}
	m.mu.Lock()
	if len(m.procs) > maxProcs {
		m.mu.Unlock()
		stdio.abort()
		return res, &wire.ControlError{Message: "too many processes that nobody has waited for", Errno: int(unix.EAGAIN)}
	}
	m.next++
	child := &proc{id: fmt.Sprint("e", m.next), io: stdio, done: make(chan struct{})}
	m.mu.Unlock()
	ctx, cancel := m.call()
	defer cancel()
	st, err := m.agent.Exec(ctx, &agentpb.ExecRequest{
		ContainerId: m.id, ExecId: child.id, Process: processOf(p), Streams: stdio.streams,
	})
	if err := startError("exec", st, err); err != nil {
		stdio.abort()
		return res, err
	}
	stdio.begin()
	m.mu.Lock()
	m.procs[child.id] = child
	m.mu.Unlock()
	go m.await(child)
	return wire.ExecResult{ExecID: child.id, Pid: int(st.Pid)}, nil
}

func (m *guestContainer) find(id string) (*proc, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.procs[id]
	if p == nil {
		return nil, &wire.ControlError{Message: fmt.Sprintf("no process %q", id), Errno: int(unix.ESRCH)}
	}
	return p, nil
}

// Wait waits for a process.
func (m *guestContainer) Wait(args wire.WaitArgs) (wire.WaitResult, error) {
	p, err := m.find(args.ExecID)
	if err != nil {
		return wire.WaitResult{}, err
	}
	select {
	case <-p.done:
	case <-m.ctx.Done():
		return wire.WaitResult{Status: uint32(unix.SIGKILL)}, nil
	}
	if args.ExecID != "" {
		m.mu.Lock()
		delete(m.procs, args.ExecID)
		m.mu.Unlock()
	}
	return wire.WaitResult{Status: p.status}, nil
}

// Signal sends a signal.
func (m *guestContainer) Signal(args wire.SignalArgs) error {
	if args.Signal < 0 || args.Signal > 64 {
		return fmt.Errorf("signal %d: %w", args.Signal, unix.EINVAL)
	}
	if args.Signal == int(unix.SIGKILL) && !m.isMember() && args.ExecID == "" && args.Pid == 0 && m.isPaused() {
		// A stopped VM answers nothing; it ends as a stopped process does.
		m.finish(statusDead, nil)
		return nil
	}
	ctx, cancel := m.call()
	defer cancel()
	_, err := m.agent.Signal(ctx, &agentpb.SignalRequest{
		ContainerId: m.id, ExecId: args.ExecID, Signal: uint32(args.Signal),
		All: args.All, Group: args.Group, Pid: uint32(args.Pid),
	})
	return agentError("signal", err)
}

// maxListed bounds a list that the guest makes.
const maxListed = 1 << 16

// Processes lists the guest's processes.
func (m *guestContainer) Processes() ([]wire.ProcessInfo, error) {
	if m.isPaused() {
		return nil, &wire.ControlError{Message: "the VM is paused: its processes can be listed after resume", Errno: int(unix.EAGAIN)}
	}
	ctx, cancel := m.call()
	defer cancel()
	res, err := m.agent.Processes(ctx, &agentpb.ContainerRequest{ContainerId: m.id})
	if err != nil {
		return nil, agentError("ps", err)
	}
	var out []wire.ProcessInfo
	for _, p := range res.Processes[:min(len(res.Processes), maxListed)] {
		out = append(out, wire.ProcessInfo{
			Pid: int(p.Pid), PPid: int(p.Ppid), UID: p.Uid, State: p.State, TTY: p.Tty, StartTime: p.StartTime,
			CPUNanos: p.CpuNanos, Threads: int(p.Threads), Comm: p.Comm, Args: p.Args,
		})
	}
	return out, nil
}

func (m *monitor) isPaused() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.pause
}

// Pause stops the VM's CPUs, or one container of a pod.
func (m *guestContainer) Pause() error {
	if !m.isMember() {
		return m.setPause(true, m.vm.Pause)
	}
	ctx, cancel := m.call()
	defer cancel()
	_, err := m.agent.Pause(ctx, &agentpb.ContainerRequest{ContainerId: m.id})
	return agentError("pause", err)
}

// Resume lets them go on, and sets the clock, which stood still.
func (m *guestContainer) Resume() error {
	if m.isMember() {
		ctx, cancel := m.call()
		defer cancel()
		_, err := m.agent.Resume(ctx, &agentpb.ContainerRequest{ContainerId: m.id})
		return agentError("resume", err)
	}
	if err := m.setPause(false, m.vm.Resume); err != nil {
		return err
	}
	m.removeLeftover()
	ctx, cancel := m.call()
	defer cancel()
	_, err := m.agent.SetTime(ctx, &agentpb.Time{UnixNanos: time.Now().UnixNano()})
	return agentError("setting the clock", err)
}

func (m *monitor) setPause(to bool, f func() error) error {
	if err := f(); err != nil {
		return err
	}
	m.mu.Lock()
	m.pause = to
	m.mu.Unlock()
	return nil
}

// Stats counts what the host's cgroups cannot see.
func (m *guestContainer) Stats() (wire.StatsResult, error) {
	var out wire.StatsResult
	if host, err := m.vm.Stats(); err == nil {
		out.HypervisorBytes, out.HypervisorNanos = uint64(max(0, host.RSS)), uint64(host.CPU)
	}
	if m.isPaused() {
		return out, nil
	}
	ctx, cancel := m.call()
	defer cancel()
	res, err := m.agent.Stats(ctx, &agentpb.ContainerRequest{ContainerId: m.id})
	if err != nil {
		return out, agentError("stats", err)
	}
	out.Pids, out.MemoryBytes, out.CPUNanos = res.Pids, res.MemoryCurrent, res.CpuNanos
	for _, i := range res.Interfaces[:min(len(res.Interfaces), maxListed)] {
		out.Interfaces = append(out.Interfaces, wire.InterfaceStats{
			Name: i.Name, RxBytes: i.RxBytes, RxPackets: i.RxPackets, RxErrors: i.RxErrors, RxDropped: i.RxDropped,
			TxBytes: i.TxBytes, TxPackets: i.TxPackets, TxErrors: i.TxErrors, TxDropped: i.TxDropped,
		})
	}
	return out, nil
}

// Resize sets a terminal's size.
func (m *guestContainer) Resize(args wire.ResizeArgs) error {
	ctx, cancel := m.call()
	defer cancel()
	_, err := m.agent.Resize(ctx, &agentpb.ResizeRequest{
		ContainerId: m.id, ExecId: args.ExecID, Rows: uint32(args.Rows), Cols: uint32(args.Cols),
	})
	return agentError("resize", err)
}

// Update changes the limits inside. The machine keeps the memory and CPUs that
// it was made with: more than those cannot be had.
func (m *guestContainer) Update(limits wire.Limits) error {
	if m.isPaused() {
		return &wire.ControlError{Message: "the VM is paused: limits can be changed after resume", Errno: int(unix.EAGAIN)}
	}
	if room := m.memory - guestKernel; limits.MemoryBytes > room {
		return &wire.ControlError{
			Message: fmt.Sprintf("memory: %d bytes are more than the VM was made with (%d); give it more by the annotation %s", limits.MemoryBytes, room, "dev.bulkhead.vm.memory"),
			Errno:   int(unix.ENOMEM),
		}
	}
	ctx, cancel := m.call()
	defer cancel()
	m.updating.Lock()
	defer m.updating.Unlock()
	if _, err := m.agent.Update(ctx, &agentpb.UpdateRequest{ContainerId: m.id, Resources: m.resourcesFrom(m.conf.Limits, limits)}); err != nil {
		return agentError("update", err)
	}
	m.conf.Limits = limits
	return nil
}

// Shutdown ends the sandbox.
func (m *guestContainer) Shutdown() error {
	m.finish(statusDead, nil)
	return nil
}

// startError is a call that failed, or a program that could not be executed.
func startError(what string, st *agentpb.Started, err error) error {
	if err != nil {
		return agentError(what, err)
	}
	if st.Errno == 0 {
		return nil
	}
	errno := unix.Errno(st.Errno)
	if st.Errno >= 4096 {
		errno = unix.EIO
	}
	text := st.Error
	if text == "" {
		text = errno.Error()
	}
	return &wire.ControlError{Message: text, Errno: int(errno)}
}

// agentError gives an agent's refusal the number that says it best.
func agentError(what string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, ttrpc.ErrClosed) {
		return fmt.Errorf("%s: the agent in the VM does not answer: it has ended", what)
	}
	st, ok := status.FromError(err)
	if !ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	errno := map[codes.Code]unix.Errno{
		codes.NotFound: unix.ESRCH, codes.InvalidArgument: unix.EINVAL, codes.Unimplemented: unix.ENOSYS,
		codes.AlreadyExists: unix.EEXIST, codes.DeadlineExceeded: unix.ETIMEDOUT,
	}[st.Code()]
	return &wire.ControlError{Message: what + ": " + st.Message(), Errno: int(errno)}
}
