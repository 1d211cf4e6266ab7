package kernel

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// PidFD is an open pidfd (pidfd_open(2)): a process, or with PIDFD_THREAD a
// thread. It is readable once that has exited.
type PidFD struct {
	vfs.FileDefaults
	tg   *ThreadGroup
	task *Task // nil: the process
}

// NewPidFD makes a pidfd for tg, or for one thread of it.
func NewPidFD(tg *ThreadGroup, task *Task) *PidFD { return &PidFD{tg: tg, task: task} }

// ThreadGroup gives the process.
func (p *PidFD) ThreadGroup() *ThreadGroup { return p.tg }

// Task gives the thread, nil for a pidfd of a process.
func (p *PidFD) Task() *Task { return p.task }

// Ready tells whether it has exited.
func (p *PidFD) Ready(*vfs.FileDescription) uint32 {
	if !p.tg.exited.Load() && !(p.task != nil && p.task.acctDone.Load()) {
		return 0
	}
	ev := waiter.In | waiter.RdNorm
	p.tg.k.mu.RLock()
	defer p.tg.k.mu.RUnlock()
	if p.tg.reaped || (p.task != nil && p.task.exitState == taskDead) {
		ev |= waiter.Hup
	}
	return ev
}

// Queue is notified of the exit.
func (p *PidFD) Queue(*vfs.FileDescription) *waiter.Queue { return &p.tg.exitQ }

// PID is what /proc/PID/fdinfo shows: -1 once it is reaped.
func (p *PidFD) PID() int32 {
	p.tg.k.mu.RLock()
	defer p.tg.k.mu.RUnlock()
	switch {
	case p.task != nil && p.task.exitState != taskDead:
		return p.task.tid
	case p.task != nil || p.tg.reaped:
		return -1
	}
	return p.tg.pid
}

// Flags of pidfd_send_signal(2).
const (
	PIDFD_SIGNAL_THREAD        = 1
	PIDFD_SIGNAL_THREAD_GROUP  = 2
	PIDFD_SIGNAL_PROCESS_GROUP = 4
)

// PidFDSendSignal is pidfd_send_signal(2); info nil: as kill(2) makes it.
func (t *Task) PidFDSendSignal(p *PidFD, sig int32, info *SigInfo, flags uint32) abi.Errno {
	thread := flags == PIDFD_SIGNAL_THREAD || (flags == 0 && p.task != nil)
	if info == nil {
		code := int32(SI_USER)
		if thread {
			code = SI_TKILL
		}
		i := t.userInfo(sig, code)
		info = &i
	} else {
		if info.Signo() != sig {
			return unix.EINVAL
		}
		if forgedInfo(info) && p.tg != t.tg {
			return unix.EPERM
		}
	}
	k := t.k
	k.mu.RLock()
	defer k.mu.RUnlock()
	if p.tg.reaped || (p.task != nil && p.task.exitState == taskDead) {
		return unix.ESRCH
	}
	switch {
	case flags == PIDFD_SIGNAL_PROCESS_GROUP:
		q := k.pids[p.tg.pid]
		if q == nil {
			return unix.ESRCH
		}
		return t.killGroup(q.pgrp, info)
	case thread && p.task != nil:
		return t.sendUser(p.tg, p.task, info)
	case thread:
		return t.sendUser(p.tg, p.tg.leader, info)
	}
	return t.sendUser(p.tg, nil, info)
}

// FDInfo adds the lines of /proc/PID/fdinfo.
func (p *PidFD) FDInfo(b *bytes.Buffer) { fmt.Fprintf(b, "Pid:\t%d\nNSpid:\t%[1]d\n", p.PID()) }
