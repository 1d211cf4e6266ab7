package monitor

import (
	"fmt"
	"os"
	"time"

	"bulkhead.dev/bulkhead/internal/vm/virtiofs"
)

// watch ends the sandbox when a part of it does.
func (m *monitor) watch() {
	go func() {
		<-m.vm.Done()
		m.finish(statusDead, fmt.Errorf("the VM has ended: %w", m.vm.Err()))
	}()
	go func() {
		<-m.conn.Done()
		// A VM that is ending closes the channel first: its reason is better.
		select {
		case <-m.vm.Done():
			m.finish(statusDead, fmt.Errorf("the VM has ended: %w", m.vm.Err()))
		case <-time.After(2 * time.Second):
			m.finish(statusDead, fmt.Errorf("the agent in the VM has ended its connection"))
		}
	}()
}

// watchShare ends the sandbox when a virtiofsd dies: what a guest does on a
// volume would hang.
func (m *monitor) watchShare(s *virtiofs.Server) {
	go func() {
		<-s.Done()
		if m.vm != nil {
			select {
			case <-m.vm.Done(): // QEMU went first, and the daemon with its connection
				m.finish(statusDead, fmt.Errorf("the VM has ended: %w", m.vm.Err()))
				return
			case <-time.After(300 * time.Millisecond):
			}
		}
		err := s.Err()
		if err == nil {
			err = fmt.Errorf("exit status 0")
		}
		m.finish(statusDead, fmt.Errorf("virtiofsd, which serves the volumes, has ended: %w", err))
	}()
}

// destroy ends what is still there and waits for it.
func (m *monitor) destroy() {
	m.cancel()
	m.leaveNetwork()
	if m.vm != nil {
		m.vm.Kill()
	}
	for _, s := range m.shares {
		s.Kill()
	}
	if m.vm != nil {
		select {
		case <-m.vm.Done():
		case <-time.After(5 * time.Second):
		}
	}
	for _, s := range m.shares {
		s.Wait(5 * time.Second)
	}
	if m.scratch != "" && !m.cfg.Container.Privileges.MountNamespace {
		os.RemoveAll(m.scratch)
	}
}
