// rseq(2): the area that the kernel keeps, the rules of registering, aborts by preemption and signals, what thread, fork
// and exec make of it. The C library has registered each thread's area already.
#include "case.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <ucontext.h>
#include <asm/prctl.h>

#define SIG 0x53053053
#define SIZE 32

static struct rseq *mine(void) { return (struct rseq *)((char *)__builtin_thread_pointer() + __rseq_offset); }
static long rs(void *area, unsigned len, int flags, unsigned sig) { return syscall(SYS_rseq, area, len, flags, sig); }
static void need(void) {
	if (__rseq_size == 0) case_skip("the C library could not register an area: a kernel without CONFIG_RSEQ");
}

// add increments *v if the thread is still on cpu and was not preempted meanwhile; 0 if it did.
static int add(struct rseq *r, unsigned cpu, long *v) {
	asm goto volatile(
		".pushsection __rseq_cs, \"aw\"\n\t.balign 32\n3:\t.long 0, 0\n\t.quad 1f, 2f - 1f, 4f\n\t.popsection\n\t"
		"leaq 3b(%%rip), %%rax\n\tmovq %%rax, 8(%[r])\n"
		"1:\tcmpl %[cpu], 4(%[r])\n\tjne 4f\n\t"
		"movq (%[v]), %%rax\n\tincq %%rax\n\tpause\n\tmovq %%rax, (%[v])\n"
		"2:\n\t"
		".pushsection .text.rseq_abort, \"ax\"\n\t.byte 0x0f, 0xb9, 0x3d\n\t.long 0x53053053\n4:\tjmp %l[aborted]\n\t.popsection"
		: : [r] "r"(r), [cpu] "r"(cpu), [v] "r"(v) : "memory", "cc", "rax" : aborted);
	return 0;
aborted:
	return -1;
}

CASE(cpu_follows) {
	need();
	cpu_set_t all, one;
	OK(sched_getaffinity(0, sizeof all, &all));
	for (int c = 0; c < CPU_SETSIZE; c++) {
		if (!CPU_ISSET(c, &all)) continue;
		CPU_ZERO(&one);
		CPU_SET(c, &one);
		OK(sched_setaffinity(0, sizeof one, &one));
		EVENTUALLY((int)*(volatile unsigned *)&mine()->cpu_id == c);
		EQ(mine()->cpu_id_start, c);
		EQ(sched_getcpu(), c);
	}
}

CASE(rules) {
	need();
	static char other[64] __attribute__((aligned(64)));
	struct rseq *r = mine();
	ERR(rs(r, SIZE, 0, SIG), EBUSY);
	ERR(rs(r, SIZE, 0, SIG + 1), EPERM);
	ERR(rs(other, SIZE, 0, SIG), EINVAL);
	ERR(rs(r, SIZE, RSEQ_FLAG_UNREGISTER, SIG + 1), EPERM);
	ERR(rs(r, SIZE * 2, RSEQ_FLAG_UNREGISTER, SIG), EINVAL);
	ERR(rs(other, SIZE, RSEQ_FLAG_UNREGISTER, SIG), EINVAL);
	ERR(rs(r, SIZE, RSEQ_FLAG_UNREGISTER | 1 << 20, SIG), EINVAL);
	ERR(rs(r, SIZE, 1 << 20, SIG), EINVAL);
	OK(rs(r, SIZE, RSEQ_FLAG_UNREGISTER, SIG));
	EQ((int)r->cpu_id, RSEQ_CPU_ID_UNINITIALIZED);
	EQ(r->cpu_id_start, 0);
	ERR(rs(r, SIZE, RSEQ_FLAG_UNREGISTER, SIG), EINVAL);
	ERR(rs(other, SIZE - 1, 0, SIG), EINVAL);
	ERR(rs(other + 1, SIZE, 0, SIG), EINVAL);
	ERR(rs((void *)-4096l, SIZE, 0, SIG), EFAULT);
	ERR(rs((void *)0x7ffffffff000, SIZE, 0, SIG), EFAULT);
	OK(rs(other, SIZE, 0, 7));
	ERR(rs(other, SIZE, RSEQ_FLAG_UNREGISTER, SIG), EPERM);
	CHECK((int)((struct rseq *)other)->cpu_id >= 0);
	OK(rs(other, SIZE, RSEQ_FLAG_UNREGISTER, 7));
	OK(rs(r, SIZE, 0, SIG));
	CHECK((int)r->cpu_id >= 0);
}

CASE(feature_size) {
	need();
	unsigned long size = getauxval(27), align = getauxval(28); // AT_RSEQ_FEATURE_SIZE, AT_RSEQ_ALIGN
	if (size == 0) case_skip("a kernel before 6.3");
	CHECK(size >= 20 && align >= 32);
	char *area = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	OK(rs(mine(), SIZE, RSEQ_FLAG_UNREGISTER, SIG));
	unsigned len = (size + align - 1) / align * align;
	ERR(rs(area + 4, len, 0, SIG), EINVAL);
	OK(rs(area, len, 0, SIG));
	OK(rs(area, len, RSEQ_FLAG_UNREGISTER, SIG));
}

// Counters, one per CPU, that many threads add to without atomic operations: what is lost shows.
#define ROUNDS 300000
static struct { long n; char pad[56]; } count[CPU_SETSIZE];
static void *adder(void *a) {
	struct rseq *r = mine();
	for (int i = 0; i < ROUNDS; i++) {
		unsigned cpu;
		do
			cpu = *(volatile unsigned *)&r->cpu_id_start;
		while (add(r, cpu, &count[cpu].n));
		if (i % 1000 == 0) sched_yield();
	}
	return a;
}
CASE(counters_per_cpu) {
	need();
	pthread_t t[6];
	for (int i = 0; i < 6; i++) PT(pthread_create(&t[i], NULL, adder, NULL));
	for (int i = 0; i < 6; i++) PT(pthread_join(t[i], NULL));
	long sum = 0;
	for (int c = 0; c < CPU_SETSIZE; c++) sum += count[c].n;
	EQ(sum, 6 * ROUNDS);
}

// A sequence that only an abort ends; a handler must never see the middle of it.
static volatile sig_atomic_t handled, inside;
extern const char spin_begin[], spin_end[];
static void handler(int sig, siginfo_t *si, void *uc) {
	unsigned long ip = ((ucontext_t *)uc)->uc_mcontext.gregs[REG_RIP];
	if (ip >= (unsigned long)spin_begin && ip < (unsigned long)spin_end) inside++;
	handled++;
}
static __attribute__((noinline, noclone)) void spin(struct rseq *r) {
	asm goto volatile(
		".pushsection __rseq_cs, \"aw\"\n\t.balign 32\n3:\t.long 0, 0\n\t.quad spin_begin, spin_end - spin_begin, 4f\n\t.popsection\n\t"
		"leaq 3b(%%rip), %%rax\n\tmovq %%rax, 8(%[r])\n"
		"\t.globl spin_begin, spin_end\nspin_begin:\tjmp spin_begin\n\tnop\nspin_end:\n\t"
		".pushsection .text.rseq_abort, \"ax\"\n\t.byte 0x0f, 0xb9, 0x3d\n\t.long 0x53053053\n4:\tjmp %l[aborted]\n\t.popsection"
		: : [r] "r"(r) : "memory", "cc", "rax" : aborted);
aborted:
	return;
}
CASE(aborted_by_signal) {
	need();
	struct sigaction sa = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
	OK(sigaction(SIGALRM, &sa, NULL));
	struct itimerval tick = {{0, 2000}, {0, 2000}};
	OK(setitimer(ITIMER_REAL, &tick, NULL));
	while (handled < 50) spin(mine());
	EQ(inside, 0);
	EQ((long)mine()->rseq_cs, 0);
}

// The kernel goes to an abort address only behind the signature that was registered.
CASE(no_signature) {
	need();
	pid_t p = OK(fork());
	if (p == 0) {
		static char area[64] __attribute__((aligned(64)));
		OK(rs(mine(), SIZE, RSEQ_FLAG_UNREGISTER, SIG));
		OK(rs(area, SIZE, 0, 0x12345678));
		alarm(20);
		spin((struct rseq *)area);
		_exit(0);
	}
	int st;
	EQ(OK(waitpid(p, &st, 0)), p);
	CHECK(WIFSIGNALED(st));
	EQ(WTERMSIG(st), SIGSEGV);
}

CASE(area_gone) {
	need();
	pid_t p = OK(fork());
	if (p == 0) {
		char *area = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		OK(rs(mine(), SIZE, RSEQ_FLAG_UNREGISTER, SIG));
		OK(rs(area, SIZE, 0, SIG));
		OK(munmap(area, 4096));
		for (int i = 0; i < 2000; i++) usleep(1000);
		_exit(0);
	}
	int st;
	EQ(OK(waitpid(p, &st, 0)), p);
	CHECK(WIFSIGNALED(st));
	EQ(WTERMSIG(st), SIGSEGV);
}

CASE(fork_keeps_it) {
	need();
	pid_t p = OK(fork());
	if (p == 0) {
		ERR(rs(mine(), SIZE, 0, SIG), EBUSY);
		for (int i = 0; i < 100; i++) {
			CHECK((int)mine()->cpu_id >= 0);
			sched_yield();
		}
		OK(rs(mine(), SIZE, RSEQ_FLAG_UNREGISTER, SIG));
		_exit(0);
	}
	int st;
	EQ(OK(waitpid(p, &st, 0)), p);
	EQ(st, 0);
	ERR(rs(mine(), SIZE, 0, SIG), EBUSY);
}

// What a vfork child and a thread of clone(2) begin with: no area.
static int fresh(void *a) {
	static char area[64] __attribute__((aligned(64)));
	long r = rs(area, SIZE, 0, SIG);
	if (r == 0) rs(area, SIZE, RSEQ_FLAG_UNREGISTER, SIG);
	*(int *)a = r == 0 ? 1 : errno;
	return 0;
}
CASE(vfork_has_none) {
	need();
	static char stack[65536] __attribute__((aligned(64)));
	int r = 0, st;
	pid_t p = OK(clone(fresh, stack + sizeof stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &r));
	EQ(OK(waitpid(p, &st, 0)), p);
	EQ(st, 0);
	EQ(r, 1);
	ERR(rs(mine(), SIZE, 0, SIG), EBUSY);
}

HELPER(rseq_after_exec) {
	if (__rseq_size == 0 || rs(mine(), SIZE, 0, SIG) != -1 || errno != EBUSY) return 1;
	for (int i = 0; i < 100; i++, sched_yield())
		if ((int)mine()->cpu_id < 0) return 2;
	return 0;
}
CASE(exec_begins_anew) {
	need();
	pid_t p = OK(fork());
	if (p == 0) {
		// An area of memory that the new program does not have.
		char *area = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		OK(rs(mine(), SIZE, RSEQ_FLAG_UNREGISTER, SIG));
		OK(rs(area, SIZE, 0, 5));
		helper("rseq_after_exec", NULL);
	}
	int st;
	EQ(OK(waitpid(p, &st, 0)), p);
	EQ(st, 0);
}

// Stacks, and the areas on them, go from thread to thread: an ended one must not write to it any more.
static void *look(void *a) {
	ERR(rs(mine(), SIZE, 0, SIG), EBUSY);
	for (int i = 0; i < 20; i++) {
		int c = *(volatile int *)&mine()->cpu_id;
		CHECK(c >= 0 && c < CPU_SETSIZE);
		if (i % 5 == 0) sched_yield();
	}
	return a;
}
CASE(threads_come_and_go) {
	need();
	for (int i = 0; i < 400; i++) {
		pthread_t a, b;
		PT(pthread_create(&a, NULL, look, NULL));
		PT(pthread_create(&b, NULL, look, NULL));
		PT(pthread_join(a, NULL));
		PT(pthread_join(b, NULL));
	}
}
// A thread that ends unmaps its own area's page right behind its joiner's wake.
static int ender(void *a) {
	if (rs(a, SIZE, 0, SIG)) return 1;
	for (int i = 0; i < 3; i++) sched_yield();
	syscall(SYS_exit, 0);
	return 0;
}
CASE(area_unmapped_after_the_end) {
	need();
	static char stack[65536] __attribute__((aligned(64)));
	for (int i = 0; i < 200; i++) {
		char *area = OK(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		atomic_int tid = 1;
		OK(clone(ender, stack + sizeof stack,
			CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM | CLONE_CHILD_CLEARTID | CLONE_CHILD_SETTID, area, NULL, NULL, &tid));
		EVENTUALLY(tid == 0);
		OK(munmap(area, 4096));
	}
}

// A filter of the program's own decides about rseq and arch_prctl like about any call.
static void filter(unsigned nr, unsigned what) {
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, what),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {4, f};
	OK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	OK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog));
}
CASE(behind_a_filter) {
	need();
	unsigned long base = 0, tls = (unsigned long)__builtin_thread_pointer();
	filter(SYS_getppid, SECCOMP_RET_ERRNO | 1);
	OK(rs(mine(), SIZE, RSEQ_FLAG_UNREGISTER, SIG));
	OK(rs(mine(), SIZE, 0, SIG));
	ERR(rs(mine(), SIZE, 0, SIG), EBUSY);
	OK(syscall(SYS_arch_prctl, ARCH_GET_FS, &base));
	EQ(base, tls);
	OK(syscall(SYS_arch_prctl, ARCH_SET_FS, tls));
	ERR(syscall(SYS_arch_prctl, ARCH_GET_FS, 8), EFAULT);
	EQ((unsigned long)__builtin_thread_pointer(), tls);
	pthread_t t;
	PT(pthread_create(&t, NULL, look, NULL));
	PT(pthread_join(t, NULL));
}
CASE(refused_by_a_filter) {
	need();
	filter(SYS_rseq, SECCOMP_RET_ERRNO | ENOTTY);
	ERR(rs(mine(), SIZE, RSEQ_FLAG_UNREGISTER, SIG), ENOTTY);
	filter(SYS_arch_prctl, SECCOMP_RET_ERRNO | EXDEV);
	unsigned long base;
	ERR(syscall(SYS_arch_prctl, ARCH_GET_FS, &base), EXDEV);
}
