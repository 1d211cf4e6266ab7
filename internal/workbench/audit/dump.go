package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

const ptraceSeccompGetFilter = 0x420c // PTRACE_SECCOMP_GET_FILTER (ptrace(2))

// filtersOf reads the seccomp filters that a process lives under, those of all
// its threads: the kernel tells root (CAP_SYS_ADMIN) what it was given. A thread
// with fewer filters than others is the hole that counts: its are given.
func filtersOf(pid int) ([]program, error) {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(tasks) == 0 {
		return nil, fmt.Errorf("process %d: it has ended", pid)
	}
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	var first []program
	for i, task := range tasks {
		tid, _ := strconv.Atoi(filepath.Base(task))
		f, err := filtersOfThread(tid)
		if errors.Is(err, unix.ESRCH) && i > 0 {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, fmt.Errorf("process %d, thread %d: %w", pid, tid, err)
		}
		switch {
		case i == 0 || within(f, first):
			first = f
		case !within(first, f):
			return nil, fmt.Errorf("process %d: thread %d has other filters than thread %s", pid, tid, filepath.Base(tasks[0]))
		}
	}
	return first, nil
}

// within tells whether b has all the filters of a, and perhaps some on top: the
// kernel tells the oldest first.
func within(a, b []program) bool {
	return len(a) <= len(b) && fmt.Sprint(a) == fmt.Sprint(b[:len(a)])
}

func filtersOfThread(tid int) (out []program, err error) {
	if err := unix.PtraceSeize(tid); err != nil {
		return nil, fmt.Errorf("ptrace: %w", err)
	}
	if err := unix.PtraceInterrupt(tid); err != nil {
		return nil, fmt.Errorf("ptrace: %w", err)
	}
	var ws unix.WaitStatus
	if _, err := waitThread(tid, &ws); err != nil {
		return nil, fmt.Errorf("ptrace: %w", err)
	}
	defer func() {
		pass := 0
		if sig := ws.StopSignal(); ws.Stopped() && uint32(ws)>>16 == 0 {
			pass = int(sig) // it had been about to get it
		}
		if _, _, e := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(pass), 0, 0); e != 0 && e != unix.ESRCH {
			err = errors.Join(err, fmt.Errorf("ptrace: letting go: %w", e))
		}
	}()
	for i := 0; ; i++ {
		p, e := getFilter(tid, i)
		switch e {
		case 0:
			out = append(out, p)
		case unix.ENOENT, unix.EINVAL: // no more, none at all
			return out, nil
		default:
			return nil, fmt.Errorf("its filters cannot be read: %w", e)
		}
	}
}

func waitThread(tid int, ws *unix.WaitStatus) (int, error) {
	for {
		n, err := unix.Wait4(tid, ws, unix.WALL, nil)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// parseFilter reads struct sock_filter.
func parseFilter(raw []byte) program {
	p := make(program, len(raw)/8)
	for i := range p {
		b := raw[8*i:]
		p[i] = unix.SockFilter{Code: binary.LittleEndian.Uint16(b), Jt: b[2], Jf: b[3], K: binary.LittleEndian.Uint32(b[4:])}
	}
	return p
}

// processName is what a process calls itself, and its arguments.
func processName(pid int) (comm, cmdline string) {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	c, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	for i := range c {
		if c[i] == 0 {
			c[i] = ' '
		}
	}
	if n := len(b); n > 0 {
		b = b[:n-1]
	}
	return string(b), string(c)
}
