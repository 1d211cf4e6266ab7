package container

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// process is a host process that a later command can recognise: a pid alone
// may be another's by then.
type process struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"` // in clock ticks since boot, field 22 of /proc/pid/stat
}

func processByPid(pid int) (process, error) {
	_, start, err := procStat(pid)
	return process{Pid: pid, Start: start}, err
}

// procStat reads the state and the start time of a process. A process whose first
// thread has ended is a zombie (Z) only when the others have, too: before, what
// they hold is not free, and a PID namespace of theirs not empty.
func procStat(pid int) (state byte, start uint64, err error) {
	f, err := procFields(pid)
	if err != nil {
		return 0, 0, err
	}
	start, err = strconv.ParseUint(f[19], 10, 64)
	state = f[0][0]
	if threads := f[17]; state == 'Z' && threads != "1" && threads != "0" {
		state = 'R'
	}
	return state, start, err
}

// procFields are those of proc_pid_stat(5) from the third on, the state.
func procFields(pid int) ([]string, error) {
	raw, err := slurp("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, err
	}
	// The name in parentheses may hold anything.
	f := strings.Fields(raw[strings.LastIndexByte(raw, ')')+1:])
	if len(f) < 20 {
		return nil, fmt.Errorf("/proc/%d/stat: malformed", pid)
	}
	return f, nil
}

// alive says whether the process is still there and more than a zombie.
func (p process) alive() bool {
	if p.Pid <= 0 {
		return false
	}
	state, start, err := procStat(p.Pid)
	return err == nil && start == p.Start && state != 'Z' && state != 'X'
}

// pidfd opens the process; -1 if it is gone.
func (p process) pidfd() int {
	if p.Pid <= 0 {
		return -1
	}
	fd, err := unix.PidfdOpen(p.Pid, 0)
	if err != nil {
		return -1
	}
	if !p.alive() {
		unix.Close(fd)
		return -1
	}
	return fd
}

// kill sends SIGKILL and waits until the process is gone or a zombie, at most
// for the time given. It says whether it is.
func (p process) kill(wait time.Duration) bool {
	fd := p.pidfd()
	if fd < 0 {
		return true
	}
	defer unix.Close(fd)
	_ = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	return pidfdWait(fd, wait)
}

// wait waits until the process is gone or a zombie; wait < 0 is for ever.
func (p process) wait(wait time.Duration) bool {
	fd := p.pidfd()
	if fd < 0 {
		return true
	}
	defer unix.Close(fd)
	return pidfdWait(fd, wait)
}

func pidfdWait(fd int, wait time.Duration) bool {
	deadline := time.Now().Add(wait)
	for {
		ms := -1
		if wait >= 0 {
			ms = max(0, int(time.Until(deadline)/time.Millisecond))
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, ms)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n > 0
	}
}
