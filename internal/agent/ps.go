package agent

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// readFile reads a file of the kernel's, without the poller and the finalizer
// that an os.File comes with.
func readFile(name string) (string, error) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	buf := make([]byte, 0, 1024)
	for {
		n, err := unix.Read(fd, buf[len(buf):cap(buf)])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return "", &os.PathError{Op: "read", Path: name, Err: err}
		}
		if n == 0 {
			return strings.TrimSpace(string(buf)), nil
		}
		buf = slices.Grow(buf[:len(buf)+n], 512)
	}
}

// statusField gives a line of /proc/pid/status.
func statusField(status, name string) string {
	for line := range strings.Lines(status) {
		if rest, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// vmPid finds a process of the container by its number inside.
func (c *container) vmPid(pid int) (int, error) {
	pids, err := c.cgroup.procs()
	if err != nil {
		return 0, err
	}
	for _, vm := range pids {
		status, err := readFile(fmt.Sprintf("/proc/%d/status", vm))
		if err == nil && innermost(statusField(status, "NSpid")) == pid {
			return vm, nil
		}
	}
	return 0, fmt.Errorf("process %d %w", pid, errNotFound)
}

// innermost is the last number of NSpid: that in the process's own namespace.
func innermost(list string) int {
	f := strings.Fields(list)
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(f[len(f)-1])
	return n
}

// endsInit says whether a signal would end an ordinary process here: its
// action is the default, and that is to end, signal(7).
func endsInit(pid int, sig unix.Signal) bool {
	switch sig {
	case 0, unix.SIGKILL, unix.SIGSTOP, unix.SIGCONT, unix.SIGCHLD, unix.SIGWINCH, unix.SIGURG, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU:
		return false
	}
	status, err := readFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for _, mask := range []string{"SigBlk", "SigIgn", "SigCgt"} {
		bits, err := strconv.ParseUint(statusField(status, mask), 16, 64)
		if err != nil || bits>>(uint(sig)-1)&1 != 0 {
			return false
		}
	}
	return true
}

// clockTicks is USER_HZ: what /proc/pid/stat counts in.
const clockTicks = 100

// maxArgs bounds the arguments of all processes in one answer, which has 4 MiB
// at most.
const maxArgs = 1 << 20

// list describes the container's processes.
func (c *container) list() ([]*agentpb.ProcessInfo, error) {
	pids, err := c.cgroup.procs()
	if err != nil {
		return nil, err
	}
	boot := bootTime()
	inside := make(map[int]uint32, len(pids)) // of parents
	var out []*agentpb.ProcessInfo
	room := maxArgs
	for _, pid := range pids {
		info := processInfo(pid, boot)
		if info == nil {
			continue
		}
		for _, arg := range info.Args {
			room -= len(arg) + 8
		}
		if room < 0 {
			info.Args = nil
		}
		inside[pid] = info.Pid
		out = append(out, info)
	}
	for _, info := range out {
		info.Ppid = inside[int(info.Ppid)] // 0 for one from outside
	}
	return out, nil
}

// processInfo reads one process; nil if it has gone. Ppid is the VM's.
func processInfo(pid int, boot int64) *agentpb.ProcessInfo {
	stat, err := readFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	status, err := readFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return nil
	}
	// The name is in brackets, and may have brackets in it: proc(5).
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return nil
	}
	f := strings.Fields(stat[end+1:])
	if len(f) < 20 {
		return nil
	}
	num := func(i int) int64 { n, _ := strconv.ParseInt(f[i], 10, 64); return n }
	info := &agentpb.ProcessInfo{
		VmPid: uint32(pid), Pid: uint32(innermost(statusField(status, "NSpid"))),
		State: f[0], Ppid: uint32(num(1)), Tty: ttyName(uint64(num(4))),
		CpuNanos: uint64(num(11)+num(12)) * (1e9 / clockTicks), Threads: uint32(num(17)),
		StartTime: boot + num(19)/clockTicks, Comm: stat[open+1 : end],
	}
	if uid := strings.Fields(statusField(status, "Uid")); len(uid) > 0 {
		n, _ := strconv.ParseUint(uid[0], 10, 32)
		info.Uid = uint32(n)
	}
	if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); err == nil && len(raw) > 0 {
		if len(raw) > 4096 {
			raw = raw[:4096]
		}
		info.Args = strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
	}
	return info
}

func ttyName(dev uint64) string {
	if dev == 0 {
		return ""
	}
	major, minor := unix.Major(dev), unix.Minor(dev)
	if major >= 136 && major <= 143 {
		return fmt.Sprintf("pts/%d", (major-136)<<8|minor)
	}
	return fmt.Sprintf("%d:%d", major, minor)
}

// bootTime is when the VM's kernel began, in seconds since the epoch.
func bootTime() int64 {
	raw, _ := readFile("/proc/stat")
	for line := range strings.Lines(raw) {
		if v, ok := strings.CutPrefix(line, "btime "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n
		}
	}
	return 0
}
