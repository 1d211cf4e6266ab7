package container

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"

	"bulkhead.dev/bulkhead/internal/wire"
)

// Processes lists the processes inside a container.
func (rt *Runtime) Processes(id string) ([]wire.ProcessInfo, error) {
	c, err := rt.open(id)
	if err != nil {
		return nil, err
	}
	if c.status() == StatusStopped {
		return nil, nil
	}
	list, err := c.sandbox().Processes()
	if err != nil {
		return nil, err
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Pid < list[j].Pid })
	return list, nil
}

// HostPids lists the host's pids of a container's processes: the Sentry, which
// stands for init, and the host process of each process inside.
func (rt *Runtime) HostPids(id string) ([]int, error) {
	c, err := rt.open(id)
	if err != nil {
		return nil, err
	}
	if c.status() == StatusStopped {
		return []int{}, nil
	}
	list, err := c.sandbox().Processes()
	if err != nil {
		return nil, err
	}
	byNS := pidsInNamespace(c.rec.Sentry.Pid)
	pids := []int{c.rec.Sentry.Pid}
	for _, p := range list {
		if host, ok := byNS[p.HostPid]; ok && p.HostPid != 0 && host != c.rec.Sentry.Pid {
			pids = append(pids, host)
		}
	}
	sort.Ints(pids)
	return pids, nil
}

// pidsInNamespace maps the pids of the PID namespace that a process is in to
// our own.
func pidsInNamespace(member int) map[int]int {
	out := make(map[int]int)
	ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", member))
	if err != nil {
		return out
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return out
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if link, err := os.Readlink("/proc/" + e.Name() + "/ns/pid"); err != nil || link != ns {
			continue
		}
		if inner, ok := innermostPid(e.Name()); ok {
			out[inner] = pid
		}
	}
	return out
}

// innermostPid reads the last number of NSpid in /proc/pid/status.
func innermostPid(pid string) (int, bool) {
	raw, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, false
	}
	_, rest, ok := bytes.Cut(raw, []byte("\nNSpid:"))
	if !ok {
		return 0, false
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) == 0 {
		return 0, false
	}
	n, err := strconv.Atoi(string(f[len(f)-1]))
	return n, err == nil
}

// ProcessTable formats processes in the columns of `ps -ef`, with the pids that
// the container sees.
func ProcessTable(list []wire.ProcessInfo, now time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-8s %7s %7s %2s %-5s %-8s %8s %s\n", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD")
	for _, p := range list {
		start := time.Unix(p.StartTime, 0)
		stime := start.Format("15:04")
		if now.Sub(start) >= 24*time.Hour {
			stime = start.Format("Jan02")
		}
		tty := p.TTY
		if tty == "" {
			tty = "?"
		}
		cpu := time.Duration(p.CPUNanos)
		var percent int64
		if run := now.Sub(start); run > 0 {
			percent = min(99, int64(100*cpu/run))
		}
		cmd := strings.Join(p.Args, " ")
		if cmd == "" {
			cmd = "[" + p.Comm + "]"
		}
		secs := int64(cpu / time.Second)
		fmt.Fprintf(&b, "%-8d %7d %7d %2d %-5s %-8s %02d:%02d:%02d %s\n", p.UID, p.Pid, p.PPid, percent, stime, printable(tty), secs/3600, secs/60%60, secs%60, printable(cmd))
	}
	return b.String()
}

// printable shows what a guest has chosen without its control characters,
// which could steer the caller's terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0xfffd {
			return '?'
		}
		return r
	}, s)
}

// errStopped is a question about processes that have ended.
var errStopped = errors.New("container not running")
