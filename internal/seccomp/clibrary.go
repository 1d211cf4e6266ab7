package seccomp

import "golang.org/x/sys/unix"

// Linux's ABI (sys/prctl.h, asm/prctl.h).
const archSetFS = 0x1002

// CLibrary gives what a dynamically linked program of the distribution needs to
// be executed and loaded, and for its memory and threads. glibc's newer ways
// (clone3) are refused with ENOSYS and have it take the older ones, whose
// arguments can be checked.
func CLibrary() []Rule {
	return []Rule{
		{Nr: unix.SYS_EXECVE, Name: "execve", Reason: "the jail becomes the program; the program's own filter then forbids it"},
		{Nr: unix.SYS_BRK, Name: "brk", Reason: "the heap"},
		{Nr: unix.SYS_MMAP, Name: "mmap", Reason: "libraries, the heap, stacks of threads"},
		{Nr: unix.SYS_MUNMAP, Name: "munmap", Reason: "the same"},
		{Nr: unix.SYS_MPROTECT, Name: "mprotect", Reason: "libraries, guard pages"},
		{Nr: unix.SYS_MREMAP, Name: "mremap", Reason: "a large allocation grows"},
		{Nr: unix.SYS_MADVISE, Name: "madvise", Reason: "memory is given back"},
		{Nr: unix.SYS_OPENAT, Name: "openat", Reason: "libraries and files, in a root that holds nothing else"},
		{Nr: unix.SYS_NEWFSTATAT, Name: "newfstatat", Reason: "files"},
		{Nr: unix.SYS_FSTAT, Name: "fstat", Reason: "files, by an older C library"},
		{Nr: unix.SYS_ACCESS, Name: "access", Reason: "files"},
		{Nr: unix.SYS_READLINK, Name: "readlink", Reason: "where the program is"},
		{Nr: unix.SYS_READ, Name: "read", Reason: "libraries, descriptors"},
		{Nr: unix.SYS_PREAD64, Name: "pread64", Reason: "libraries, files"},
		{Nr: unix.SYS_WRITE, Name: "write", Reason: "descriptors, messages"},
		{Nr: unix.SYS_CLOSE, Name: "close", Reason: "descriptors"},
		{Nr: unix.SYS_ARCH_PRCTL, Name: "arch_prctl", Reason: "a thread's own memory", When: []Cond{Arg(0, archSetFS)}},
		{Nr: unix.SYS_SET_TID_ADDRESS, Name: "set_tid_address", Reason: "the first thread"},
		{Nr: unix.SYS_SET_ROBUST_LIST, Name: "set_robust_list", Reason: "a thread begins"},
		{Nr: unix.SYS_RSEQ, Name: "rseq", Reason: "a thread begins"},
		{Nr: unix.SYS_PRLIMIT64, Name: "prlimit64", Reason: "limits of its own: how large a stack, how many files", When: []Cond{Arg(0, 0)}},
		{Nr: unix.SYS_GETRANDOM, Name: "getrandom", Reason: "random bytes"},
		Futex(0, "threads wait for each other: FUTEX_WAIT"),
		Futex(1, "threads wake each other: FUTEX_WAKE"),
		Futex(9, "threads wait until a time: FUTEX_WAIT_BITSET"),
		{Nr: unix.SYS_CLONE, Name: "clone", Reason: "threads, and nothing but threads", When: []Cond{Bits(0, cloneThread|namespaces, cloneThread)}},
		{Nr: unix.SYS_EXIT, Name: "exit", Reason: "the end of a thread"},
		{Nr: unix.SYS_EXIT_GROUP, Name: "exit_group", Reason: "the end"},
		{Nr: unix.SYS_GETPID, Name: "getpid", Reason: "signals to itself"},
		{Nr: unix.SYS_GETTID, Name: "gettid", Reason: "a thread begins"},
		{Nr: unix.SYS_TGKILL, Name: "tgkill", Reason: "a change of uid is carried to every thread; abort"},
		{Nr: unix.SYS_RT_SIGACTION, Name: "rt_sigaction", Reason: "signals"},
		{Nr: unix.SYS_RT_SIGPROCMASK, Name: "rt_sigprocmask", Reason: "signals"},
		{Nr: unix.SYS_RT_SIGRETURN, Name: "rt_sigreturn", Reason: "signals"},
		{Nr: unix.SYS_SIGALTSTACK, Name: "sigaltstack", Reason: "stacks of coroutines"},
		{Nr: unix.SYS_SCHED_GETAFFINITY, Name: "sched_getaffinity", Reason: "how many CPUs there are"},
		{Nr: unix.SYS_SCHED_YIELD, Name: "sched_yield", Reason: "locks"},
		{Nr: unix.SYS_CLOCK_NANOSLEEP, Name: "clock_nanosleep", Reason: "sleep"},
		{Nr: unix.SYS_NANOSLEEP, Name: "nanosleep", Reason: "sleep, by an older C library"},
		{Nr: unix.SYS_RESTART_SYSCALL, Name: "restart_syscall", Reason: "the sleep of a process that was stopped and continued"},
		{Nr: unix.SYS_CLOCK_GETTIME, Name: "clock_gettime", Reason: "clocks, where the vDSO has none; CPU time"},
		{Nr: unix.SYS_GETTIMEOFDAY, Name: "gettimeofday", Reason: "the same"},
	}
}

const namespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET

// Intrusion gives the calls that no part of such a program makes, and whose caller
// means harm: its process is ended, and the kernel logs it.
func Intrusion() []Rule {
	return killFor(
		"ptrace", unix.SYS_PTRACE, "process_vm_readv", unix.SYS_PROCESS_VM_READV, "process_vm_writev", unix.SYS_PROCESS_VM_WRITEV,
		"pidfd_getfd", unix.SYS_PIDFD_GETFD, "process_madvise", unix.SYS_PROCESS_MADVISE, "kcmp", unix.SYS_KCMP,
		"fork", unix.SYS_FORK, "vfork", unix.SYS_VFORK, "execveat", unix.SYS_EXECVEAT, "setns", unix.SYS_SETNS,
		"mount", unix.SYS_MOUNT, "umount2", unix.SYS_UMOUNT2, "pivot_root", unix.SYS_PIVOT_ROOT, "open_tree", unix.SYS_OPEN_TREE,
		"move_mount", unix.SYS_MOVE_MOUNT, "fsopen", unix.SYS_FSOPEN, "fsmount", unix.SYS_FSMOUNT, "mount_setattr", unix.SYS_MOUNT_SETATTR,
		"add_key", unix.SYS_ADD_KEY, "request_key", unix.SYS_REQUEST_KEY, "keyctl", unix.SYS_KEYCTL,
		"init_module", unix.SYS_INIT_MODULE, "finit_module", unix.SYS_FINIT_MODULE, "delete_module", unix.SYS_DELETE_MODULE,
		"kexec_load", unix.SYS_KEXEC_LOAD, "kexec_file_load", unix.SYS_KEXEC_FILE_LOAD, "reboot", unix.SYS_REBOOT,
		"swapon", unix.SYS_SWAPON, "swapoff", unix.SYS_SWAPOFF, "acct", unix.SYS_ACCT, "quotactl", unix.SYS_QUOTACTL,
		"iopl", unix.SYS_IOPL, "ioperm", unix.SYS_IOPERM, "modify_ldt", unix.SYS_MODIFY_LDT,
		"perf_event_open", unix.SYS_PERF_EVENT_OPEN, "open_by_handle_at", unix.SYS_OPEN_BY_HANDLE_AT,
		"settimeofday", unix.SYS_SETTIMEOFDAY, "clock_settime", unix.SYS_CLOCK_SETTIME, "sethostname", unix.SYS_SETHOSTNAME,
	)
}

func killFor(calls ...any) []Rule {
	var out []Rule
	for i := 0; i < len(calls); i += 2 {
		out = append(out, Rule{Nr: uint32(calls[i+1].(int)), Name: calls[i].(string), Reason: "an intruder's call", Action: KillProcess})
	}
	return out
}

// Program is the filter of a program that is not ours: what it needs, ENOSYS
// for what it may try and can do without, as on a kernel that lacks the call,
// and the end for what only an intruder calls, or who comes by another way in
// (int 0x80, x32).
func Program(rules ...[]Rule) *Filter {
	f := &Filter{Default: Errno(unix.ENOSYS), Foreign: KillProcess}
	for _, r := range rules {
		f.Rules = append(f.Rules, r...)
	}
	f.Rules = append(f.Rules, Intrusion()...)
	return f
}
