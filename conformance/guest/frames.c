// Signal frames that cannot be built, and calls whose results cannot be stored while a signal is due.
#include "case.h"
#include <setjmp.h>
#include <sys/syscall.h>
#include <ucontext.h>

static sigjmp_buf back;
static siginfo_t info;
static volatile int usr1_blocked, ran;

static void give_altstack(size_t n) {
	stack_t ss = {.ss_sp = anon(n), .ss_size = n};
	OK(sigaltstack(&ss, NULL));
}

static void nest(int s) { raise(s); }
static void note(int s) { ran++, (void)s; }
static void jump(int s, siginfo_t *si, void *c) {
	(void)s;
	info = *si;
	usr1_blocked = sigismember(&((ucontext_t *)c)->uc_sigmask, SIGUSR1);
	siglongjmp(back, 1);
}

static void handle(int sig, void (*f)(int), int flags) {
	struct sigaction sa = {.sa_handler = f, .sa_flags = flags};
	OK(sigaction(sig, &sa, NULL));
}

static void handle_info(int sig, void (*f)(int, siginfo_t *, void *), int flags) {
	struct sigaction sa = {.sa_sigaction = f, .sa_flags = flags | SA_SIGINFO};
	OK(sigaction(sig, &sa, NULL));
}

// raise_on sends sig to the caller with the stack pointer at sp.
static void raise_on(void *sp, int sig) {
	pid_t pid = getpid(), tid = syscall(SYS_gettid);
	register long s __asm__("rdx") = sig;
	__asm__ volatile("movq %%rsp, %%rbx\n movq %0, %%rsp\n syscall\n movq %%rbx, %%rsp"
	                 :
	                 : "r"(sp), "a"((long)SYS_tgkill), "D"((long)pid), "S"((long)tid), "r"(s)
	                 : "rbx", "rcx", "r11", "memory");
}

static void *hole(void) {
	char *p = anon(16 * PAGE);
	OK(munmap(p, 16 * PAGE));
	return p + 8 * PAGE;
}

CASE(nested_frames_overflow_the_altstack) {
	CHILD(p) {
		// There is plenty of good memory below: the frames must not run into it.
		char *m = anon(256 * PAGE);
		stack_t ss = {.ss_sp = m + 192 * PAGE, .ss_size = 16 * PAGE};
		OK(sigaltstack(&ss, NULL));
		handle(SIGUSR1, nest, SA_ONSTACK | SA_NODEFER);
		raise(SIGUSR1);
		_exit(1);
	}
	KILLED(p, SIGSEGV);
}

CASE(altstack_too_small_for_any_frame) {
	CHILD(p) {
		char *m = anon(64 * PAGE);
		stack_t ss = {.ss_sp = m + 32 * PAGE, .ss_size = 8192};
		OK(sigaltstack(&ss, NULL));
		handle(SIGUSR1, note, SA_ONSTACK);
		raise_on(m + 32 * PAGE + 300, SIGUSR1); // on it already, and near its end
		_exit(1);
	}
	KILLED(p, SIGSEGV);
}

CASE(overflow_reaches_sigsegvs_handler_on_the_other_stack) {
	CHILD(p) {
		char *m = anon(64 * PAGE);
		stack_t ss = {.ss_sp = m + 32 * PAGE, .ss_size = 16 * PAGE};
		OK(sigaltstack(&ss, NULL));
		handle(SIGSEGV, note, SA_ONSTACK); // its frame finds no room either
		handle(SIGUSR1, note, SA_ONSTACK);
		raise_on(m + 32 * PAGE + 300, SIGUSR1);
		_exit(1);
	}
	KILLED(p, SIGSEGV);
}

CASE(frame_on_bad_memory_is_sigsegv) {
	give_altstack(16 * PAGE);
	handle(SIGUSR1, note, 0);
	handle_info(SIGSEGV, jump, SA_ONSTACK);
	void *sp = hole();
	if (!sigsetjmp(back, 1)) {
		raise_on(sp, SIGUSR1);
		CHECK(!"no SIGSEGV");
	}
	EQ(info.si_signo, SIGSEGV);
	EQ(info.si_code, SI_KERNEL);
	EQ(usr1_blocked, 0); // the frame that failed changed no mask
	EQ(ran, 0);
}

CASE(frame_on_bad_memory_kills) {
	CHILD(p) {
		handle(SIGUSR1, note, 0);
		raise_on(hole(), SIGUSR1);
		_exit(1);
	}
	KILLED(p, SIGSEGV);
	CHILD(q) {
		handle(SIGSEGV, note, 0);
		raise_on(hole(), SIGSEGV);
		_exit(1);
	}
	KILLED(q, SIGSEGV);
}

CASE(fault_on_a_bad_stack_kills_by_sigsegv) {
	CHILD(p) {
		handle(SIGSEGV, note, 0);
		__asm__ volatile("movq %0, %%rsp\n pushq $0" : : "r"(hole()) : "memory");
		_exit(1);
	}
	KILLED(p, SIGSEGV);
	CHILD(q) {
		handle(SIGILL, note, 0);
		__asm__ volatile("movq %0, %%rsp\n ud2" : : "r"(hole()) : "memory");
		_exit(1);
	}
	KILLED(q, SIGSEGV);
}

CASE(efault_while_a_signal_is_due) {
	handle(SIGUSR1, note, 0);
	sigset_t s;
	sigemptyset(&s);
	sigaddset(&s, SIGUSR1);
	for (int i = 1; i <= 20; i++) {
		OK(sigprocmask(SIG_BLOCK, &s, NULL));
		raise(SIGUSR1);
		ERR(syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &s, (void *)8, 8), EFAULT);
		EQ(ran, i);
	}
}

CASE(signals_find_a_clock_call) {
	// A timer's signals while the clock is read again and again, by the vdso and by the call.
	handle(SIGALRM, note, SA_RESTART);
	struct itimerval it = {{0, 500}, {0, 500}};
	OK(setitimer(ITIMER_REAL, &it, NULL));
	struct timespec a, b;
	while (ran < 100) {
		OK(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &a));
		OK(clock_gettime(CLOCK_MONOTONIC, &b));
		CHECK(b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
	}
}
