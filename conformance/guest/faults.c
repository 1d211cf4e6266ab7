// Hardware faults as signals: SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP with their siginfo, and survival of handlers.
#include "case.h"
#include <setjmp.h>
#include <ucontext.h>

static sigjmp_buf back;
static siginfo_t info;
static volatile long trapno, err, rip, cr2;
static void jump(int s, siginfo_t *si, void *c) {
	greg_t *g = ((ucontext_t *)c)->uc_mcontext.gregs;
	info = *si;
	trapno = g[REG_TRAPNO], err = g[REG_ERR], rip = g[REG_RIP], cr2 = g[REG_CR2];
	siglongjmp(back, 1);
}
// FAULT(sig) { … }: runs the block, which must end in signal sig.
#define FAULT(sig)                                               \
	on_siginfo(sig, jump, 0);                                \
	for (int once_ = sigsetjmp(back, 1); !once_; case_fail(__FILE__, __LINE__, "no fault"))

CASE(null_read) {
	FAULT(SIGSEGV) { (void)*(volatile char *)NULL; }
	EQ(info.si_code, SEGV_MAPERR);
	EQ((long)info.si_addr, 0);
	EQ(info.si_signo, SIGSEGV);
	EQ(trapno, 14);
	EQ(err & 7, 4);
}

CASE(unmapped_write_address) {
	char *p = anon(3 * PAGE);
	OK(munmap(p + PAGE, PAGE));
	FAULT(SIGSEGV) { *(volatile char *)(p + PAGE + 123) = 1; }
	EQ(info.si_code, SEGV_MAPERR);
	CHECK(info.si_addr == p + PAGE + 123);
	EQ(cr2, (long)(p + PAGE + 123));
	EQ(err & 7, 6);
}

CASE(read_only_page_is_accerr) {
	char *p = anon(PAGE);
	OK(mprotect(p, PAGE, PROT_READ));
	FAULT(SIGSEGV) { *(volatile char *)(p + 7) = 1; }
	EQ(info.si_code, SEGV_ACCERR);
	CHECK(info.si_addr == p + 7);
}

CASE(prot_none_is_accerr) {
	char *p = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FAULT(SIGSEGV) { (void)*(volatile char *)p; }
	EQ(info.si_code, SEGV_ACCERR);
}

CASE(no_execute) {
	char *p = anon(PAGE);
	p[0] = 0xc3;
	FAULT(SIGSEGV) { ((void (*)(void))p)(); }
	EQ(info.si_code, SEGV_ACCERR);
	CHECK(info.si_addr == p);
	EQ(rip, (long)p);
}

CASE(jump_to_unmapped) {
	FAULT(SIGSEGV) { ((void (*)(void))0x10)(); }
	EQ(info.si_code, SEGV_MAPERR);
	EQ((long)info.si_addr, 0x10);
}

CASE(non_canonical_address) {
	FAULT(SIGSEGV) { (void)*(volatile char *)0x1234567890abcdef; }
	EQ(info.si_code, SI_KERNEL);
	EQ((long)info.si_addr, 0);
	EQ(trapno, 13);
}

CASE(privileged_instruction) {
	FAULT(SIGSEGV) { asm volatile("hlt"); }
	EQ(info.si_code, SI_KERNEL);
}

CASE(past_end_of_file_is_sigbus) {
	spew("f", "x");
	int fd = OK(open("f", O_RDWR));
	char *p = OK(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	EQ(p[0], 'x');
	EQ(p[PAGE - 1], 0);
	FAULT(SIGBUS) { (void)*(volatile char *)(p + PAGE + 5); }
	EQ(info.si_code, BUS_ADRERR);
	CHECK(info.si_addr == p + PAGE + 5);
}

CASE(truncated_under_a_mapping_is_sigbus) {
	int fd = OK(open("f", O_RDWR | O_CREAT, 0644));
	OK(ftruncate(fd, 2 * PAGE));
	char *p = OK(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	p[PAGE] = 1;
	OK(ftruncate(fd, PAGE));
	FAULT(SIGBUS) { *(volatile char *)(p + PAGE) = 2; }
	EQ(info.si_signo, SIGBUS);
	OK(ftruncate(fd, 2 * PAGE));
	EQ(p[PAGE], 0);
}

CASE(alignment_check_off) {
	char *p = anon(PAGE);
	*(volatile int *)(p + 1) = 5;
	EQ(*(volatile int *)(p + 1), 5);
}

CASE(integer_division) {
	volatile int z = 0, x, y = 1;
	FAULT(SIGFPE) { x = y / z; }
	(void)x;
	EQ(info.si_code, FPE_INTDIV);
	EQ((long)info.si_addr, rip);
	EQ(trapno, 0);
}

CASE(floating_division_unmasked) {
	volatile double z = 0, x = 1;
	unsigned csr = 0x1f80 & ~0x200; // unmask divide-by-zero
	FAULT(SIGFPE) {
		asm volatile("ldmxcsr %0" ::"m"(csr));
		x = x / z;
		asm volatile("" ::: "memory");
	}
	EQ(info.si_code, FPE_FLTDIV);
	csr = 0x1f80;
	asm volatile("ldmxcsr %0" ::"m"(csr));
}

CASE(illegal_instruction) {
	FAULT(SIGILL) { asm volatile("ud2"); }
	EQ(info.si_code, ILL_ILLOPN);
	EQ((long)info.si_addr, rip);
	EQ(trapno, 6);
}

CASE(breakpoint) {
	static volatile int hit;
	void h(int s, siginfo_t *si, void *c) {
		hit = si->si_code;
	}
	on_siginfo(SIGTRAP, h, 0);
	asm volatile("int3");
	EQ(hit, SI_KERNEL);
}

CASE(single_step_flag) {
	static volatile int hit;
	void h(int s, siginfo_t *si, void *c) {
		hit = si->si_code;
		((ucontext_t *)c)->uc_mcontext.gregs[REG_EFL] &= ~0x100L;
	}
	on_siginfo(SIGTRAP, h, 0);
	asm volatile("pushfq; orq $0x100, (%%rsp); popfq; nop; nop" ::: "cc", "memory");
	EQ(hit, TRAP_TRACE);
}

CASE(handler_repairs_and_resumes) {
	static char *page;
	page = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void h(int s, siginfo_t *si, void *c) { mprotect(page, PAGE, PROT_READ | PROT_WRITE); }
	on_siginfo(SIGSEGV, h, 0);
	*(volatile char *)(page + 5) = 9;
	EQ(page[5], 9);
}

CASE(handler_skips_instruction) {
	static volatile int n;
	void h(int s, siginfo_t *si, void *c) {
		n++;
		((ucontext_t *)c)->uc_mcontext.gregs[REG_RIP] += 2;
	}
	on_siginfo(SIGILL, h, 0);
	asm volatile("ud2; ud2");
	EQ(n, 2);
}

CASE(stack_overflow_caught_on_altstack) {
	static char *alt;
	alt = anon(65536);
	stack_t ss = {.ss_sp = alt, .ss_size = 65536};
	OK(sigaltstack(&ss, NULL));
	void h(int s, siginfo_t *si, void *c) {
		char here;
		_exit(&here > alt && &here < alt + 65536 ? 17 : 1);
	}
	CHILD(p) {
		struct rlimit r = {1 << 20, 1 << 20};
		OK(setrlimit(RLIMIT_STACK, &r));
		on_siginfo(SIGSEGV, h, SA_ONSTACK);
		int deep(volatile char *prev) {
			volatile char b[4096];
			b[0] = prev[0] + 1;
			return deep(b) + b[0];
		}
		char c = 0;
		deep(&c);
	}
	EXITS(p, 17);
}

CASE(stack_overflow_kills) {
	CHILD(p) {
		struct rlimit r = {1 << 20, 1 << 20};
		OK(setrlimit(RLIMIT_STACK, &r));
		int deep(volatile char *prev) {
			volatile char b[4096];
			b[0] = prev[0] + 1;
			return deep(b) + b[0];
		}
		char c = 0;
		deep(&c);
	}
	KILLED(p, SIGSEGV);
}

CASE(stack_grows) {
	CHILD(p) {
		volatile char *b = __builtin_alloca(4 << 20);
		for (int i = 4 << 20; i > 0; i -= PAGE) b[i - 1] = 1;
	}
	JOIN(p);
}

CASE(unhandled_faults_kill) {
	CHILD(a) { *(volatile char *)8 = 1; }
	KILLED(a, SIGSEGV);
	CHILD(b) { asm volatile("ud2"); }
	KILLED(b, SIGILL);
	CHILD(c) {
		volatile int z = 0, y = 1, x = y / z;
		(void)x;
	}
	KILLED(c, SIGFPE);
	CHILD(d) { asm volatile("int3"); }
	KILLED(d, SIGTRAP);
	CHILD(e) { abort(); }
	KILLED(e, SIGABRT);
}

CASE(blocked_or_ignored_faults_kill_all_the_same) {
	CHILD(a) {
		sigset_t s = sigs(SIGSEGV, 0);
		sigprocmask(SIG_BLOCK, &s, NULL);
		on_signal(SIGSEGV, nothing, 0);
		*(volatile char *)8 = 1;
	}
	KILLED(a, SIGSEGV);
	CHILD(b) {
		on_signal(SIGSEGV, SIG_IGN, 0);
		*(volatile char *)8 = 1;
	}
	KILLED(b, SIGSEGV);
}

CASE(fault_in_handler_of_the_same_kills) {
	CHILD(p) {
		void h(int s) { *(volatile char *)8 = 1; }
		on_signal(SIGSEGV, h, 0);
		*(volatile char *)8 = 1;
	}
	KILLED(p, SIGSEGV);
}

CASE(fault_in_thread_goes_to_that_thread) {
	static volatile pid_t tid, at;
	static sigjmp_buf env;
	void h(int s) {
		at = syscall(SYS_gettid);
		siglongjmp(env, 1);
	}
	on_signal(SIGSEGV, h, 0);
	void *body(void *a) {
		tid = syscall(SYS_gettid);
		if (!sigsetjmp(env, 1)) *(volatile char *)8 = 1;
		return a;
	}
	pthread_t t;
	PT(pthread_create(&t, NULL, body, NULL));
	PT(pthread_join(t, NULL));
	EQ(at, tid);
}

CASE(no_room_for_the_frame_kills) {
	CHILD(p) {
		on_signal(SIGUSR1, nothing, 0);
		asm volatile("mov $0x1000, %%rsp; syscall; hlt" ::"a"(SYS_kill), "D"(getpid()), "S"(SIGUSR1));
	}
	KILLED(p, SIGSEGV);
}

CASE(sent_segv_has_user_code) {
	static volatile int code, from;
	void h(int s, siginfo_t *si, void *c) { code = si->si_code, from = si->si_pid; }
	on_siginfo(SIGSEGV, h, 0);
	OK(kill(getpid(), SIGSEGV));
	EQ(code, SI_USER);
	EQ(from, getpid());
}

CASE(many_faults) {
	char *p = anon(PAGE);
	volatile int n = 0;
	on_siginfo(SIGSEGV, jump, 0);
	while (n < 2000) {
		n++;
		OK(mprotect(p, PAGE, PROT_READ));
		if (!sigsetjmp(back, 1)) {
			*(volatile char *)p = 1;
			CHECK(!"no fault");
		}
	}
}

CASE(bad_pointer_in_call_is_efault_not_a_signal) {
	on_siginfo(SIGSEGV, jump, 0);
	if (sigsetjmp(back, 1)) case_fail(__FILE__, __LINE__, "a signal came");
	int fd = OK(open("/dev/zero", O_RDONLY));
	ERR(read(fd, (void *)8, 10), EFAULT);
	char *p = anon(PAGE);
	OK(mprotect(p, PAGE, PROT_READ));
	ERR(read(fd, p, 10), EFAULT);
}
