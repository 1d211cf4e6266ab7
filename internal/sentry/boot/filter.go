package boot

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/seccomp"
)

// sentryRules are the host calls of a running Sentry beside Go's own: none
// opens a path, makes an inet socket, or executes anything.
var sentryRules = []seccomp.Rule{
	// Guest processes.
	{Nr: unix.SYS_PROCESS_VM_READV, Name: "process_vm_readv", Reason: "reading a guest's memory"},
	{Nr: unix.SYS_PROCESS_VM_WRITEV, Name: "process_vm_writev", Reason: "writing a guest's memory"},
	{Nr: unix.SYS_SCHED_SETAFFINITY, Name: "sched_setaffinity", Reason: "placing a guest's thread and its own on one CPU"},
	{Nr: unix.SYS_KILL, Name: "kill", Reason: "ending one guest's process, never a group", When: []seccomp.Cond{oneProcess, seccomp.Arg(1, uint64(unix.SIGKILL))}},
	{Nr: unix.SYS_KILL, Name: "kill", Reason: "pause", When: []seccomp.Cond{oneProcess, seccomp.Arg(1, uint64(unix.SIGSTOP))}},
	{Nr: unix.SYS_KILL, Name: "kill", Reason: "resume", When: []seccomp.Cond{oneProcess, seccomp.Arg(1, uint64(unix.SIGCONT))}},
	{Nr: unix.SYS_TGKILL, Name: "tgkill", Reason: "whether a thread that a stub reports is its own", When: []seccomp.Cond{seccomp.Arg(2, 0)}},
	{Nr: unix.SYS_TGKILL, Name: "tgkill", Reason: "a kick: a guest's thread looks at what has changed", When: []seccomp.Cond{seccomp.Arg(2, platform.KickSignal)}},
	seccomp.Futex(9, "a guest's turn: FUTEX_WAIT_BITSET"),
	seccomp.Futex(10, "a guest's turn: FUTEX_WAKE_BITSET"),
	seccomp.Futex(4, "a new thread's worker goes over to its slot: FUTEX_CMP_REQUEUE"),
	{Nr: unix.SYS_WAIT4, Name: "wait4", Reason: "guest processes that have ended"},
	{Nr: unix.SYS_WAITID, Name: "waitid", Reason: "whether a pid that a stub reports is a child, without waiting",
		When: []seccomp.Cond{seccomp.Arg(0, unix.P_PID), seccomp.Arg(3, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT)}},
	{Nr: unix.SYS_MMAP, Name: "mmap", Reason: "slots shared with guests, and files in memory; never executable",
		When: []seccomp.Cond{seccomp.Bits(2, unix.PROT_EXEC, 0)}},
	{Nr: unix.SYS_MEMFD_CREATE, Name: "memfd_create", Reason: "slots, and files in memory; no huge pages", When: []seccomp.Cond{seccomp.Bits(1, 1<<64-1-(unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING), 0)}},
	{Nr: unix.SYS_FTRUNCATE, Name: "ftruncate", Reason: "their size, and that of files handed out by the Gofer"},
	{Nr: unix.SYS_FALLOCATE, Name: "fallocate", Reason: "holes and space in them"},
	{Nr: unix.SYS_SOCKETPAIR, Name: "socketpair", Reason: "the way of descriptors to a guest's process",
		When: []seccomp.Cond{seccomp.Arg(0, unix.AF_UNIX), seccomp.Arg(1, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC)}},
	{Nr: unix.SYS_SENDMSG, Name: "sendmsg", Reason: "descriptors to guests, requests to the Gofer, answers to the lifecycle"},
	{Nr: unix.SYS_RECVMSG, Name: "recvmsg", Reason: "the Gofer's replies, the lifecycle's requests; inherited sockets"},
	{Nr: unix.SYS_CLOSE, Name: "close", Reason: "descriptors"},

	// Files that were handed out.
	{Nr: unix.SYS_READ, Name: "read", Reason: "standard input, packets of the container's interfaces, the runtime's eventfd"},
	{Nr: unix.SYS_PREAD64, Name: "pread64", Reason: "files"},
	{Nr: unix.SYS_PWRITE64, Name: "pwrite64", Reason: "files"},
	{Nr: unix.SYS_PREADV2, Name: "preadv2", Reason: "inherited descriptors, without blocking"},
	{Nr: unix.SYS_PWRITEV2, Name: "pwritev2", Reason: "inherited descriptors, without blocking"},
	{Nr: unix.SYS_FSTAT, Name: "fstat", Reason: "size and times of open files"},
	{Nr: unix.SYS_LSEEK, Name: "lseek", Reason: "holes in files; inherited descriptors"},
	{Nr: unix.SYS_FSYNC, Name: "fsync", Reason: "fsync and fdatasync of files"},
	{Nr: unix.SYS_IOCTL, Name: "ioctl", Reason: "inherited terminals, how they are set: TCGETS to TCFLSH", When: []seccomp.Cond{seccomp.Range(1, unix.TCGETS, unix.TCFLSH)}},
	{Nr: unix.SYS_IOCTL, Name: "ioctl", Reason: "the same, with speeds: TCGETS2", When: []seccomp.Cond{seccomp.Arg(1, unix.TCGETS2)}},
	{Nr: unix.SYS_IOCTL, Name: "ioctl", Reason: "the same: TCSETS2, TCSETSW2, TCSETSF2", When: []seccomp.Cond{seccomp.Range(1, unix.TCSETS2, unix.TCSETSF2)}},
	{Nr: unix.SYS_IOCTL, Name: "ioctl", Reason: "inherited terminals, how large they are: TIOCGWINSZ, TIOCSWINSZ", When: []seccomp.Cond{seccomp.Range(1, unix.TIOCGWINSZ, unix.TIOCSWINSZ)}},
	{Nr: unix.SYS_IOCTL, Name: "ioctl", Reason: "what an inherited terminal has not yet written: TIOCOUTQ", When: []seccomp.Cond{seccomp.Arg(1, unix.TIOCOUTQ)}},
	{Nr: unix.SYS_IOCTL, Name: "ioctl", Reason: "what an inherited descriptor has to read: FIONREAD", When: []seccomp.Cond{seccomp.Arg(1, unix.TIOCINQ)}},
	{Nr: unix.SYS_FCNTL, Name: "fcntl", Reason: "how an inherited descriptor was opened: F_GETFL", When: []seccomp.Cond{seccomp.Arg(1, unix.F_GETFL)}},
	{Nr: unix.SYS_FCNTL, Name: "fcntl", Reason: "seals of files in memory: F_ADD_SEALS", When: []seccomp.Cond{seccomp.Arg(1, unix.F_ADD_SEALS)}},
	{Nr: unix.SYS_OPENAT, Name: "openat", Reason: "figures of guests' host processes below the held /proc",
		When: []seccomp.Cond{seccomp.Range(0, 0, 1<<20), seccomp.Bits(2, unix.O_ACCMODE|unix.O_CREAT, 0)}},

	// Waiting and time.
	{Nr: unix.SYS_EPOLL_CREATE1, Name: "epoll_create1", Reason: "inherited descriptors"},
	{Nr: unix.SYS_EPOLL_CTL, Name: "epoll_ctl", Reason: "inherited descriptors"},
	{Nr: unix.SYS_EPOLL_PWAIT, Name: "epoll_pwait", Reason: "inherited descriptors"},
	{Nr: unix.SYS_PPOLL, Name: "ppoll", Reason: "inherited descriptors; the Gofer's end"},
	{Nr: unix.SYS_ACCEPT4, Name: "accept4", Reason: "the lifecycle's connections"},
	{Nr: unix.SYS_GETSOCKOPT, Name: "getsockopt", Reason: "whether the lifecycle's socket listens: SO_ACCEPTCONN", When: []seccomp.Cond{seccomp.Arg(1, unix.SOL_SOCKET), seccomp.Arg(2, unix.SO_ACCEPTCONN)}},
	{Nr: unix.SYS_SYSINFO, Name: "sysinfo", Reason: "how much memory is free, for sysinfo(2) and meminfo"},
	{Nr: unix.SYS_GETCPU, Name: "getcpu", Reason: "the guest's getcpu"},
	{Nr: unix.SYS_MEMBARRIER, Name: "membarrier", Reason: "barriers of guests, by the global expedited one", When: []seccomp.Cond{seccomp.Arg(0, 2)}},
	{Nr: unix.SYS_CLOCK_GETTIME, Name: "clock_gettime", Reason: "CPU time of guests' threads; clocks without a vDSO"},
	{Nr: unix.SYS_GETRANDOM, Name: "getrandom", Reason: "random bytes"},
	{Nr: unix.SYS_RT_SIGACTION, Name: "rt_sigaction", Reason: "signals that are caught: the runtime's handler"},
}

// oneProcess is a pid of kill(2) that names one process, and not the Sentry as
// the first of its namespace.
var oneProcess = seccomp.Range(0, 2, 1<<22)

// Filter is the Sentry's seccomp filter. A call outside it ends the Sentry
// with a trace of where it came from.
func Filter() *seccomp.Filter {
	return &seccomp.Filter{Rules: append(append([]seccomp.Rule(nil), seccomp.GoRuntime...), sentryRules...), Default: seccomp.Trap}
}
