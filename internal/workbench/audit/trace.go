package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// tracer counts the system calls of processes that stand outside a container,
// such as the Sentry, by ptrace(2), with their arguments. What guest code does
// is not followed. One goroutine owns it and its thread.
//
//	seize every thread ─▶ stop at a call ─▶ which? ─▶ count ─▶ go on … until all have ended
type tracer struct {
	rules map[int]*doings // by process
	owner map[int]int     // thread to process
	done  chan error
	// role, if not nil, says what a process is that came by fork or execve:
	// such processes are followed, too.
	role func(pid int) *doings
	// later has processes that are counted once they take a filter: theirs
	// comes after a start that it would not let through.
	later map[int]*doings
}

// doings is what one process did.
type doings struct {
	role  string
	rules []filterRule
	calls map[uint32]int
	hits  []int          // by rule: how often it was the one that let a call through
	odd   map[uint32]int // calls that no rule allows: they came before the filter, or were refused
}

// follow traces these processes until they end; it returns when every thread of
// them is held. The result of done is nil when all went well.
func follow(procs map[int]*doings) (*tracer, error) {
	t := &tracer{rules: procs, owner: map[int]int{}, done: make(chan error, 1)}
	ready := make(chan error)
	go t.run(ready)
	return t, <-ready
}

func (t *tracer) run(ready chan<- error) {
	runtime.LockOSThread() // never unlocked: tracees go with the thread
	err := t.seizeAll()
	ready <- err
	if err == nil {
		t.done <- t.loop()
	}
}

const (
	traceOptions  = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE
	followOptions = traceOptions | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC
)

// all are the doings of every process, once each.
func (t *tracer) all() []*doings {
	var out []*doings
	for _, u := range t.rules {
		if u != nil && !slices.Contains(out, u) {
			out = append(out, u)
		}
	}
	return out
}

func (t *tracer) seizeAll() error {
	for pid := range t.rules {
		for again := true; again; { // threads may be born meanwhile
			again = false
			tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
			for _, task := range tasks {
				tid, _ := strconv.Atoi(filepath.Base(task))
				if t.owner[tid] != 0 {
					continue
				}
				again = true
				t.owner[tid] = pid
				_, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(tid), 0, t.options(), 0, 0)
				if e == 0 {
					e = errnoOf(unix.PtraceInterrupt(tid))
				}
				if e != 0 && e != unix.ESRCH && e != unix.EPERM { // EPERM: seized with its parent already
					return fmt.Errorf("ptrace of process %d: %w", pid, e)
				}
			}
		}
	}
	return nil
}

func (t *tracer) options() uintptr {
	if t.role != nil {
		return followOptions
	}
	return traceOptions
}

func errnoOf(err error) unix.Errno {
	var e unix.Errno
	errors.As(err, &e)
	return e
}

// loop serves stops until no traced thread is left.
func (t *tracer) loop() error {
	const noThread = 0x20000000 // __WNOTHREAD: leave the children of other threads alone
	raw := make([]byte, 96)
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL|noThread, nil)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.ECHILD:
			return nil
		case err != nil:
			return fmt.Errorf("wait for traced processes: %w", err)
		case !ws.Stopped():
			continue
		}
		request, signal := uintptr(unix.PTRACE_SYSCALL), uintptr(0)
		event := uint32(ws) >> 16
		switch {
		case ws.StopSignal() == unix.SIGTRAP|0x80:
			t.count(tid, raw)
		case event == unix.PTRACE_EVENT_STOP && ws.StopSignal() != unix.SIGTRAP:
			request = unix.PTRACE_LISTEN // a stop of the whole process
		case event == unix.PTRACE_EVENT_EXEC:
			t.became(tid)
		case event != 0:
		default:
			signal = uintptr(ws.StopSignal())
		}
		unix.RawSyscall6(unix.SYS_PTRACE, request, uintptr(tid), 0, signal, 0, 0) // ESRCH: killed meanwhile
	}
}

func (t *tracer) count(tid int, raw []byte) {
	const entry = 1 // PTRACE_SYSCALL_INFO_ENTRY
	if syscallInfo(tid, raw) != 0 || raw[0] != entry {
		return
	}
	pid, nr := t.process(tid), uint32(binary.LittleEndian.Uint64(raw[24:]))
	u := t.rules[pid]
	if u == nil {
		if nr == unix.SYS_SECCOMP && t.later[pid] != nil {
			t.rules[pid] = t.later[pid]
		}
		return
	}
	var args [6]uint64
	for i := range args {
		args[i] = binary.LittleEndian.Uint64(raw[32+8*i:])
	}
	u.made(nr, &args)
}

func (u *doings) made(nr uint32, args *[6]uint64) {
	u.calls[nr]++
	for i := range u.rules {
		if u.rules[i].matches(nr, args) {
			u.hits[i]++
			return
		}
	}
	u.odd[nr]++
}

// became: a followed process executed a program, which lives under its filter
// from that call on.
func (t *tracer) became(pid int) {
	t.owner[pid] = pid
	u := t.role(pid)
	t.rules[pid] = u
	if u != nil {
		u.made(unix.SYS_EXECVE, &[6]uint64{})
	}
}

// process finds the process of a thread that was born while traced.
func (t *tracer) process(tid int) int {
	if pid := t.owner[tid]; pid != 0 {
		return pid
	}
	for pid := range t.rules {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d/task/%d", pid, tid)); err == nil {
			t.owner[tid] = pid
			return pid
		}
	}
	if t.role == nil {
		return 0
	}
	pid := threadGroup(tid)
	if pid != 0 {
		t.owner[tid] = pid
		if _, known := t.rules[pid]; !known {
			t.rules[pid] = nil // until it executes something
		}
	}
	return pid
}

// threadGroup reads which process a thread is of; 0 if it has ended.
func threadGroup(tid int) int {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	_, rest, _ := strings.Cut(string(raw), "\nTgid:\t")
	n, _, _ := strings.Cut(rest, "\n")
	pid, _ := strconv.Atoi(n)
	return pid
}

func newDoings(role string, rules []filterRule) *doings {
	u := &doings{role: role, calls: map[uint32]int{}, odd: map[uint32]int{}}
	for _, r := range rules {
		if r.Process == role {
			u.rules = append(u.rules, r)
		}
	}
	u.hits = make([]int, len(u.rules))
	return u
}
