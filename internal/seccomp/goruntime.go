package seccomp

import "golang.org/x/sys/unix"

// GoRuntime are what Go's runtime needs once it runs.
var GoRuntime = []Rule{
	{Nr: unix.SYS_FUTEX, Name: "futex", Reason: "the runtime's threads wait for each other"},
	{Nr: unix.SYS_NANOSLEEP, Name: "nanosleep", Reason: "the runtime's monitor thread"},
	{Nr: unix.SYS_RESTART_SYSCALL, Name: "restart_syscall", Reason: "the sleep of a process that was stopped and continued"},
	{Nr: unix.SYS_SCHED_YIELD, Name: "sched_yield", Reason: "the runtime's locks"},
	{Nr: unix.SYS_MMAP, Name: "mmap", Reason: "the heap: private anonymous memory, never executable",
		When: []Cond{Bits(2, unix.PROT_EXEC, 0), Bits(3, unix.MAP_ANONYMOUS|unix.MAP_PRIVATE, unix.MAP_ANONYMOUS|unix.MAP_PRIVATE)}},
	{Nr: unix.SYS_MUNMAP, Name: "munmap", Reason: "the heap"},
	{Nr: unix.SYS_MADVISE, Name: "madvise", Reason: "the heap gives memory back"},
	{Nr: unix.SYS_PRCTL, Name: "prctl", Reason: "the runtime names its memory (PR_SET_VMA)", When: []Cond{Arg(0, unix.PR_SET_VMA)}},
	{Nr: unix.SYS_CLONE, Name: "clone", Reason: "the runtime's threads, and nothing but threads",
		When: []Cond{Bits(0, cloneThread, cloneThread)}},
	{Nr: unix.SYS_EXIT, Name: "exit", Reason: "the end of a thread"},
	{Nr: unix.SYS_EXIT_GROUP, Name: "exit_group", Reason: "the end"},
	{Nr: unix.SYS_RT_SIGPROCMASK, Name: "rt_sigprocmask", Reason: "the runtime, when it makes a thread"},
	{Nr: unix.SYS_RT_SIGRETURN, Name: "rt_sigreturn", Reason: "the runtime's preemption signal"},
	{Nr: unix.SYS_SIGALTSTACK, Name: "sigaltstack", Reason: "a new thread's signal stack"},
	{Nr: unix.SYS_GETTID, Name: "gettid", Reason: "a new thread"},
	{Nr: unix.SYS_GETPID, Name: "getpid", Reason: "the runtime's preemption signal"},
	{Nr: unix.SYS_TGKILL, Name: "tgkill", Reason: "the runtime's preemption signal"},
	{Nr: unix.SYS_WRITE, Name: "write", Reason: "what a crash has to say"},
}

const cloneThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
