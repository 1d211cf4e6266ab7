// prctl(2)'s PR_SET_SYSCALL_USER_DISPATCH: calls that come to their caller as signals.
#include "case.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <ucontext.h>
#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF 0
#define PR_SYS_DISPATCH_ON 1
#define SYSCALL_DISPATCH_FILTER_ALLOW 0
#define SYSCALL_DISPATCH_FILTER_BLOCK 1
#endif
#define INCLUSIVE 2
enum { ALLOW = SYSCALL_DISPATCH_FILTER_ALLOW, BLOCK = SYSCALL_DISPATCH_FILTER_BLOCK };

static volatile char sel;
static volatile int hits, nr, code, err, arch;
static volatile uintptr_t from, rax, rip;
static int dispatch(long mode, unsigned long at, unsigned long len, volatile char *s) {
	return prctl(PR_SET_SYSCALL_USER_DISPATCH, mode, at, len, s);
}
// caught lets everything through again, as its own return is a call; the call's result is 1000 + its number.
static void caught(int s, siginfo_t *si, void *c) {
	(void)s;
	sel = ALLOW;
	greg_t *r = ((ucontext_t *)c)->uc_mcontext.gregs;
	hits++, nr = si->si_syscall, code = si->si_code, err = si->si_errno, arch = si->si_arch, from = (uintptr_t)si->si_call_addr;
	rax = r[REG_RAX], rip = r[REG_RIP];
	r[REG_RAX] = 1000 + si->si_syscall;
}
static void need(void) {
	if (dispatch(PR_SYS_DISPATCH_OFF, 0, 0, NULL)) SKIP("needs Linux 5.11");
	on_siginfo(SIGSYS, caught, 0);
	sel = ALLOW;
	hits = 0;
}
// a call's code far below everything else: its address, where its instruction ends.
static long (*low(void))(long, long, long, long) {
	static const char call[] = "\x48\x89\xf8\x48\x89\xf7\x48\x89\xd6\x48\x89\xca\x0f\x05\xc3"; // rax=a rdi=b rsi=c rdx=d syscall ret
	char *p = mmap((void *)0x10000, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	if (p == MAP_FAILED) SKIP("nothing can be mapped at 64 KiB");
	memcpy(p, call, sizeof call);
	OK(mprotect(p, PAGE, PROT_READ | PROT_EXEC));
	return (long (*)(long, long, long, long))p;
}
enum { LOW = 0x10000, LOW_END = LOW + 14, ABOVE = 0x20000 };

CASE(arguments) {
	need();
	ERR(dispatch(PR_SYS_DISPATCH_OFF, 1, 0, NULL), EINVAL);
	ERR(dispatch(PR_SYS_DISPATCH_OFF, 0, 1, NULL), EINVAL);
	ERR(dispatch(PR_SYS_DISPATCH_OFF, 0, 0, &sel), EINVAL);
	ERR(dispatch(3, 0, 0, NULL), EINVAL);
	ERR(dispatch(-1, 0, 0, NULL), EINVAL);
	ERR(dispatch(PR_SYS_DISPATCH_ON, 4096, 0, &sel), EINVAL);
	ERR(dispatch(PR_SYS_DISPATCH_ON, 4096, -4096, &sel), EINVAL);
	ERR(dispatch(PR_SYS_DISPATCH_ON, 0, 0, (char *)-4096), EFAULT);
	ERR(dispatch(INCLUSIVE, 0, 0, &sel), EINVAL);
	ERR(dispatch(INCLUSIVE, 4096, -4096, &sel), EINVAL);
	OK(dispatch(PR_SYS_DISPATCH_ON, 0, 0, &sel));
	OK(dispatch(PR_SYS_DISPATCH_ON, 4096, 4096, &sel));
	OK(dispatch(PR_SYS_DISPATCH_OFF, 0, 0, NULL));
	EQ(hits, 0);
}

CASE(a_call_comes_as_a_signal) {
	need();
	OK(dispatch(PR_SYS_DISPATCH_ON, 0, 0, &sel));
	CHECK(syscall(SYS_getppid) > 0);
	sel = BLOCK;
	long r = syscall(SYS_getppid);
	EQ(r, 1000 + SYS_getppid);
	EQ(hits, 1);
	EQ(nr, SYS_getppid);
	EQ(code, 2);
	EQ(err, 0);
	EQ((unsigned)arch, AUDIT_ARCH_X86_64);
	EQ(rax, SYS_getppid);
	EQ(from, rip);
	EQ(*(uint16_t *)(rip - 2), 0x050f);
	CHECK(syscall(SYS_getppid) > 0);
	sel = BLOCK;
	r = syscall(100000); // also what is no call
	EQ(r, 101000);
	OK(dispatch(PR_SYS_DISPATCH_OFF, 0, 0, NULL));
	sel = BLOCK;
	CHECK(syscall(SYS_getppid) > 0);
	EQ(hits, 2);
}

CASE(every_call_does) {
	need();
	static const int calls[] = {SYS_getpid, SYS_gettid, SYS_getuid, SYS_clock_gettime, SYS_sched_yield, SYS_futex, SYS_rt_sigprocmask, SYS_close,
				    SYS_read, SYS_write, SYS_fstat, SYS_dup, SYS_time, SYS_getcpu, SYS_madvise, SYS_mmap, SYS_fork, SYS_clone, SYS_vfork, SYS_execve,
				    SYS_exit, SYS_exit_group, SYS_rt_sigaction, SYS_set_robust_list, SYS_mprotect, SYS_munmap, SYS_fcntl, SYS_newfstatat, SYS_getdents64};
	int n = 0;
	for (int round = 0; round < 40; round++)
		for (int i = 0; i < LEN(calls); i++) {
			if (calls[i] != SYS_exit && calls[i] < SYS_fork) syscall(SYS_getpid); // well trodden
			OK(dispatch(PR_SYS_DISPATCH_ON, 0, 0, &sel));
			sel = BLOCK;
			long r = syscall(calls[i], -1, 0, 0, 0, 0, 0);
			OK(dispatch(PR_SYS_DISPATCH_OFF, 0, 0, NULL));
			EQ(r, 1000 + calls[i]);
			EQ(nr, calls[i]);
			EQ(hits, ++n);
		}
}

CASE(well_trodden_places) {
	need();
	OK(dispatch(PR_SYS_DISPATCH_ON, 0, 0, &sel));
	char c;
	int p[2];
	OK(pipe(p));
	for (int i = 0; i < 2000; i++) {
		EQ(write(p[1], "x", 1), 1);
		EQ(read(p[0], &c, 1), 1);
		CHECK(getpid() > 0);
	}
	int pid = getpid();
	for (int i = 0; i < 200; i++) {
		sel = BLOCK;
		EQ(write(p[1], "x", 1), 1000 + SYS_write);
		sel = BLOCK;
		EQ(getpid(), 1000 + SYS_getpid);
		EQ(getpid(), pid);
	}
	EQ(hits, 400);
	EQ(ready(p[0], POLLIN, 0), 0);
}

CASE(a_range_passes) {
	need();
	long (*call)(long, long, long, long) = low();
	OK(dispatch(PR_SYS_DISPATCH_ON, LOW, PAGE, &sel));
	long pid = getpid();
	sel = BLOCK;
	EQ(call(SYS_getpid, 0, 0, 0), pid);
	EQ(hits, 0);
	long r = syscall(SYS_getppid);
	EQ(r, 1000 + SYS_getppid);
	OK(dispatch(PR_SYS_DISPATCH_ON, ABOVE, (1L << 47) - ABOVE, NULL)); // everything but that page, whatever a selector says
	sel = BLOCK;
	CHECK(syscall(SYS_getppid) > 0);
	EQ(call(SYS_getpid, 0, 0, 0), 1000 + SYS_getpid);
	EQ(from, LOW_END);
	// Where the instruction ends counts.
	OK(dispatch(PR_SYS_DISPATCH_ON, LOW_END, (1L << 47) - LOW_END, NULL));
	EQ(call(SYS_getpid, 0, 0, 0), pid);
	OK(dispatch(PR_SYS_DISPATCH_ON, LOW_END + 1, (1L << 47) - LOW_END - 1, NULL));
	EQ(call(SYS_getpid, 0, 0, 0), 1000 + SYS_getpid);
	OK(dispatch(PR_SYS_DISPATCH_OFF, 0, 0, NULL));
	if (dispatch(INCLUSIVE, LOW, PAGE, NULL)) return; // before Linux 6.15
	EQ(call(SYS_getpid, 0, 0, 0), 1000 + SYS_getpid);
	EQ(getpid(), pid);
	OK(dispatch(INCLUSIVE, LOW, PAGE, &sel));
	sel = BLOCK;
	EQ(getpid(), pid);
	EQ(call(SYS_getpid, 0, 0, 0), 1000 + SYS_getpid);
	EQ(call(SYS_getpid, 0, 0, 0), pid); // the handler has set it
}

CASE(bad_selectors_kill) {
	need();
	CHILD(p) {
		OK(dispatch(PR_SYS_DISPATCH_ON, 0, 0, &sel));
		sel = 2;
		getppid();
	}
	KILLED(p, SIGSYS);
	CHILD(q) {
		char *s = anon(PAGE);
		on_signal(SIGSEGV, nothing, 0);
		OK(dispatch(PR_SYS_DISPATCH_ON, 0, 0, s));
		OK(munmap(s, PAGE));
		getppid();
	}
	KILLED(q, SIGSEGV);
	CHILD(r) { // without a handler
		signal(SIGSYS, SIG_DFL);
		OK(dispatch(PR_SYS_DISPATCH_ON, 0, 0, &sel));
		sel = BLOCK;
		getppid();
	}
	KILLED(r, SIGSYS);
	CHILD(s) { // blocked, it is not held back
		sigset_t set = sigs(SIGSYS, 0);
		OK(dispatch(PR_SYS_DISPATCH_ON, 0, 0, &sel));
		OK(sigprocmask(SIG_BLOCK, &set, NULL));
		sel = BLOCK;
		getppid();
	}
	KILLED(s, SIGSYS);
}

HELPER(is_free) { return getppid() > 0 && syscall(SYS_getppid) < 1000000 ? 0 : 1; }
CASE(new_tasks_and_programs_begin_without) {
	need();
	long (*call)(long, long, long, long) = low();
	OK(dispatch(PR_SYS_DISPATCH_ON, ABOVE, (1L << 47) - ABOVE, NULL));
	EQ(call(SYS_getppid, 0, 0, 0), 1000 + SYS_getppid);
	CHILD(p) CHECK(call(SYS_getppid, 0, 0, 0) == getppid());
	JOIN(p);
	void *body(void *a) {
		long (*c)(long, long, long, long) = (void *)(long)LOW;
		CHECK(c(SYS_getppid, 0, 0, 0) == getppid());
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	PT(pthread_join(t, NULL));
	EQ(call(SYS_getppid, 0, 0, 0), 1000 + SYS_getppid);
	CHILD(q) {
		OK(dispatch(PR_SYS_DISPATCH_ON, LOW, PAGE, NULL)); // only from there: exec is one of it
		static char *argv[] = {case_self, "--helper", "is_free", NULL};
		call(SYS_execve, (long)case_self, (long)argv, (long)environ);
	}
	JOIN(q);
}

CASE(before_seccomp) {
	need();
	struct sock_filter f[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
				  BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog p = {4, f};
	OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p)) SKIP("seccomp is not offered");
	OK(dispatch(PR_SYS_DISPATCH_ON, 0, 0, &sel));
	ERR(syscall(SYS_getppid), EDOM);
	sel = BLOCK;
	EQ(syscall(SYS_getppid), 1000 + SYS_getppid);
	EQ(code, 2);
}
