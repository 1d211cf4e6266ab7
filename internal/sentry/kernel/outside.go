package kernel

import (
	"bytes"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/bpf"

	"golang.org/x/sys/unix"
)

// What is asked of processes from outside the sandbox.

// SetUnkillable says whether signals without a handler pass the process by, as
// they do pid 1.
func (tg *ThreadGroup) SetUnkillable(on bool) {
	tg.sig.mu.Lock()
	tg.sig.unkillable = on
	tg.sig.mu.Unlock()
}

// SignalFromOutside sends sig to the process, as its parent namespace would: a
// SIGKILL or SIGSTOP reaches pid 1 too.
func (tg *ThreadGroup) SignalFromOutside(sig int32) {
	if sig == 0 {
		return
	}
	info := KernelInfo(sig, SI_USER, 0, 0)
	tg.k.mu.RLock()
	defer tg.k.mu.RUnlock()
	tg.send(&info, nil, true, nil)
}

// SignalGroupFromOutside sends sig to the process's process group.
func (tg *ThreadGroup) SignalGroupFromOutside(sig int32) {
	if sig == 0 {
		return
	}
	info := KernelInfo(sig, SI_USER, 0, 0)
	tg.k.mu.RLock()
	defer tg.k.mu.RUnlock()
	if tg.pgrp == nil {
		return
	}
	for m := tg.pgrp.head; m != nil; m = m.pgNext {
		m.send(&info, nil, true, nil)
	}
}

// HostPID gives the pid of the task's host process, 0 if it has none.
func (t *Task) HostPID() int {
	if th := t.plat.th.Load(); th != nil {
		return th.Process().PID()
	}
	return 0
}

// maxCommandLine bounds what CommandLine reads.
const maxCommandLine = 64 << 10

// CommandLine reads the process's arguments from its memory.
func (t *Task) CommandLine() []string {
	i := t.tg.Info()
	t.mu.Lock()
	m := t.mm
	t.mu.Unlock()
	if m == nil || i.ArgsHi <= i.ArgsLo {
		return nil
	}
	raw := make([]byte, min(i.ArgsHi-i.ArgsLo, maxCommandLine))
	n, _ := m.Read(i.ArgsLo, raw)
	var out []string
	for _, a := range bytes.Split(bytes.TrimRight(raw[:n], "\x00"), []byte{0}) {
		out = append(out, string(a))
	}
	return out
}

// Freeze stops the guest's host processes, or lets them go on.
func (k *Kernel) Freeze(on bool) { k.platform.Freeze(on) }

// SetPidsLimit changes how many tasks there may be; 0: as many as ids.
func (k *Kernel) SetPidsLimit(n int) {
	k.mu.Lock()
	k.config.PidsLimit = n
	k.mu.Unlock()
}

// AddFirstSeccompFilter attaches the container's filter to a process before
// its first program, without no_new_privs.
func (t *Task) AddFirstSeccompFilter(code []bpf.Instruction, flags uint32) abi.Errno {
	p, ok := bpf.New(code, AuditArch)
	if !ok {
		return unix.EINVAL
	}
	s := &seccompState{program: p, older: t.seccomp.Load(), cost: p.Len() + 4}
	s.users.Store(1)
	t.seccomp.Store(s)
	return 0
}
