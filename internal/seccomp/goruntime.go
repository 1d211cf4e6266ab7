package seccomp

import "golang.org/x/sys/unix"

// GoRuntime are what Go's runtime needs once it runs.
var GoRuntime = []Rule{
	{Nr: unix.SYS_FUTEX, Name: "futex", Reason: "the runtime's threads wait for and wake each other: FUTEX_WAIT and FUTEX_WAKE",
		When: []Cond{Bits(1, futexOp&^1, 0)}},
	{Nr: unix.SYS_NANOSLEEP, Name: "nanosleep", Reason: "the runtime's monitor thread"},
	{Nr: unix.SYS_RESTART_SYSCALL, Name: "restart_syscall", Reason: "the sleep of a process that was stopped and continued"},
	{Nr: unix.SYS_SCHED_YIELD, Name: "sched_yield", Reason: "the runtime's locks"},
	{Nr: unix.SYS_MMAP, Name: "mmap", Reason: "the heap: private anonymous memory, never executable",
		When: []Cond{Bits(2, unix.PROT_EXEC, 0), Bits(3, unix.MAP_ANONYMOUS|unix.MAP_PRIVATE, unix.MAP_ANONYMOUS|unix.MAP_PRIVATE)}},
	{Nr: unix.SYS_MUNMAP, Name: "munmap", Reason: "the heap"},
	{Nr: unix.SYS_MADVISE, Name: "madvise", Reason: "the heap gives memory back: MADV_DONTNEED and MADV_FREE", When: []Cond{Range(2, unix.MADV_DONTNEED, unix.MADV_FREE)}},
	{Nr: unix.SYS_MADVISE, Name: "madvise", Reason: "huge pages for the heap, or none", When: []Cond{Range(2, unix.MADV_HUGEPAGE, unix.MADV_NOHUGEPAGE)}},
	{Nr: unix.SYS_MADVISE, Name: "madvise", Reason: "huge pages for the heap, at once", When: []Cond{Arg(2, unix.MADV_COLLAPSE)}},
	{Nr: unix.SYS_PRCTL, Name: "prctl", Reason: "the runtime names its memory (PR_SET_VMA)", When: []Cond{Arg(0, unix.PR_SET_VMA)}},
	{Nr: unix.SYS_CLONE, Name: "clone", Reason: "the runtime's threads, and nothing but threads",
		When: []Cond{Arg(0, goThread)}},
	{Nr: unix.SYS_EXIT, Name: "exit", Reason: "the end of a thread"},
	{Nr: unix.SYS_EXIT_GROUP, Name: "exit_group", Reason: "the end"},
	{Nr: unix.SYS_RT_SIGPROCMASK, Name: "rt_sigprocmask", Reason: "the runtime, when it makes a thread"},
	{Nr: unix.SYS_RT_SIGRETURN, Name: "rt_sigreturn", Reason: "the runtime's preemption signal"},
	{Nr: unix.SYS_SIGALTSTACK, Name: "sigaltstack", Reason: "a new thread's signal stack"},
	{Nr: unix.SYS_GETTID, Name: "gettid", Reason: "a new thread"},
	{Nr: unix.SYS_GETPID, Name: "getpid", Reason: "the runtime's preemption signal"},
	{Nr: unix.SYS_TGKILL, Name: "tgkill", Reason: "the runtime's preemption signal", When: []Cond{Arg(2, uint64(unix.SIGURG))}},
	{Nr: unix.SYS_TGKILL, Name: "tgkill", Reason: "the end by a signal that nobody catches, SIGHUP to SIGTERM", When: []Cond{Range(2, uint64(unix.SIGHUP), uint64(unix.SIGTERM))}},
	{Nr: unix.SYS_WRITE, Name: "write", Reason: "descriptors that it holds; what a crash has to say"},
}

const (
	cloneThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD
	// goThread are the flags of the runtime's own clone (runtime/os_linux.go,
	// and sys_linux_amd64.s, which adds the last).
	goThread = cloneThread | unix.CLONE_SYSVSEM | unix.CLONE_SETTLS
	// futexOp are the bits of a futex operation without FUTEX_PRIVATE_FLAG and
	// FUTEX_CLOCK_REALTIME.
	futexOp = 1<<32 - 1 - 0x180
)

// Futex lets the operation of futex(2) pass, private or shared, whatever its
// clock. There is no list of those that inherit priorities.
func Futex(op uint64, reason string) Rule {
	return Rule{Nr: unix.SYS_FUTEX, Name: "futex", Reason: reason, When: []Cond{Bits(1, futexOp, op)}}
}
