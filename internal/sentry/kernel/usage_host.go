package kernel

import (
	"bytes"
	"strconv"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
)

// What a task has used is its host thread's CPU time, taken as time in user
// mode, and that of the Sentry's thread which runs its calls, taken as time in
// the kernel.
//
// A process is read by its process's clock (one system call), exited threads
// included; one of several threads by the host's schedstat files, when it is
// asked for. Where the Sentry has no /proc, each thread counts for an equal part
// of its process.

// longLife is the age from which on an exit is worth reading the host's longer
// files for faults and peak memory. Before, what is resident stands for the
// peak, and a fork that did not even exec has none: reading it would cost a
// twentieth of its life.
const longLife = 5e6

// cpuClockID is a clock of the host's (clock_getcpuclockid(3)).
func cpuClockID(id int, perThread int32) int32 { return int32(^id)<<3 | perThread | clockSched }

func readCPUClock(id int32) int64 {
	var ts unix.Timespec
	if unix.ClockGettime(id, &ts) != nil {
		return 0
	}
	return ts.Nano()
}

// seatTime gives the CPU time of the Sentry's thread that runs the task's calls.
func (t *Task) seatTime() int64 {
	if tid := t.sentryTID.Load(); tid != 0 {
		return max(readCPUClock(cpuClockID(int(tid), clockPerThread))-t.seatBefore.Load(), 0)
	}
	return 0
}

// guestTime gives the CPU time of the task's host thread.
func (t *Task) guestTime() int64 {
	th := t.plat.th.Load()
	switch {
	case th == nil:
		return 0
	case !t.tg.threaded.Load():
		return processClock(th)
	case procDir() >= 0:
		return schedstat(th.Process().PID(), th.HostTID())
	}
	return processClock(th) / int64(max(1, len(t.tg.liveTasks())))
}

// processClock gives the CPU time of a host process, exited threads included.
func processClock(th *platform.Thread) int64 {
	return readCPUClock(cpuClockID(th.Process().PID(), 0))
}

// groupClock is processClock of a process with these tasks.
func groupClock(tasks []*Task) int64 {
	for _, t := range tasks {
		if th := t.plat.th.Load(); th != nil {
			return processClock(th)
		}
	}
	return 0
}

// schedstat reads how long a host thread has run.
func schedstat(pid, tid int) int64 {
	var buf [96]byte
	f := bytes.Fields(readHostProc(buf[:], strconv.Itoa(pid)+"/task/"+strconv.Itoa(tid)+"/schedstat"))
	if len(f) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(f[0]), 10, 64)
	return n
}

// readHostProc reads the start of a file of the host's /proc.
func readHostProc(buf []byte, name string) []byte {
	if procDir() < 0 {
		return nil
	}
	fd, err := unix.Openat(procDir(), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return nil
	}
	return buf[:n]
}

// hostMemory adds the faults and the peak of memory of the host process.
func (u *Usage) hostMemory(pid int) {
	var buf [2048]byte
	dir := strconv.Itoa(pid)
	if stat := readHostProc(buf[:], dir+"/stat"); stat != nil {
		// Fields 10 and 12, counted from 1; the name in parentheses is field 2.
		f := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(f) > 9 {
			u.MinFaults, _ = strconv.ParseInt(string(f[7]), 10, 64)
			u.MajFaults, _ = strconv.ParseInt(string(f[9]), 10, 64)
		}
	}
	status := readHostProc(buf[:], dir+"/status")
	if _, rest, ok := bytes.Cut(status, []byte("VmHWM:")); ok {
		if f := bytes.Fields(rest); len(f) > 0 {
			u.MaxRSS, _ = strconv.ParseInt(string(f[0]), 10, 64)
		}
	}
}

// residentKiB reads how much of a host process is in memory now.
func residentKiB(pid int) int64 {
	var buf [64]byte
	f := bytes.Fields(readHostProc(buf[:], strconv.Itoa(pid)+"/statm"))
	if len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(string(f[1]), 10, 64)
	return pages * 4
}

// acctHost keeps what the host's threads have used, before they go (own
// goroutine).
func (t *Task) acctHost() {
	u := Usage{STime: t.seatTime()}
	last := t.tg.acct.running.Add(-1) == 0
	if th := t.plat.th.Load(); th != nil && last {
		u.UTime = processClock(th)
		switch pid := th.Process().PID(); {
		case ktime.Mono()-t.tg.startMono > longLife:
			u.hostMemory(pid)
		case t.tg.hasExeced():
			u.MaxRSS = residentKiB(pid)
		}
	}
	t.tg.acct.mu.Lock()
	t.final = u
	t.tg.acct.mu.Unlock()
}

// acctExec keeps what the host process has used that exec leaves behind.
func (t *Task) acctExec() {
	u := processClock(t.plat.th.Load())
	t.tg.acct.mu.Lock()
	t.tg.acct.dead.UTime += u
	t.tg.acct.mu.Unlock()
}

// FullUsage is Usage with the faults and the peak of memory, which cost more
// to read.
func (tg *ThreadGroup) FullUsage() Usage {
	u := tg.Usage()
	for _, t := range tg.liveTasks() {
		if th := t.plat.th.Load(); th != nil {
			u.hostMemory(th.Process().PID())
			break
		}
	}
	return u
}
