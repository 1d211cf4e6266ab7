package monitor

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

var agentEmpty agentpb.Empty

// create makes the container in the VM, and starts it if start is set.
func (m *guestContainer) create(start bool, fds [3]int) error {
	p := &m.conf.Process
	in, out, errout := fileOf(fds[0]), fileOf(fds[1]), stderrOf(p, fds[2])
	if p.Terminal {
		if p.Rows == 0 && p.Cols == 0 {
			if ws, err := unix.IoctlGetWinsize(fds[0], unix.TIOCGWINSZ); err == nil {
				p.Rows, p.Cols = ws.Row, ws.Col
			}
		}
	}
	stdio, err := m.joinStdio(p.Terminal, in, out, errout)
	if err != nil {
		return err
	}
	req := m.createRequest(start)
	req.Streams = stdio.streams
	if m.prepared && m == m.first {
		prepare(req)
	}
	if start {
		m.begun = true
	}
	ctx, cancel := m.call()
	defer cancel()
	st, err := m.agent.Create(ctx, req)
	if err := startError("making the container in the VM", st, err); err != nil {
		stdio.abort()
		return err
	}
	stdio.begin()
	m.mu.Lock()
	m.procs[""] = &proc{io: stdio, done: make(chan struct{})}
	m.mu.Unlock()
	if start {
		m.initRuns()
	}
	return nil
}
