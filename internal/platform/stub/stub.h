/* stub.h: the stub's C, freestanding: general registers only, no data section
 * (the text is shared by all guest processes, read-only). */
#ifndef STUB_H
#define STUB_H
#include "layout.h"

/* The host's frame, as far as the stub needs it (sigreturn(2),
 * arch/x86/include/uapi/asm/sigcontext.h). */
struct regs {
	u64 r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	u64 segs, err, trapno, oldmask, cr2;
};

struct ucontext {
	u64 flags, link;
	u64 ss_sp;
	u32 ss_flags, ss_pad;
	u64 ss_size;
	struct regs r;
	u8 *fpstate;
	u64 reserved[8];
	u64 sigmask;
};

struct siginfo {
	s32 signo, err, code, pad;
	u64 addr;       /* SIGSYS: call address; faults: the address */
	s32 syscall;
	u32 arch;
	u64 rest[12];
};

_Static_assert(sizeof(struct ucontext) == 304, "ucontext");
_Static_assert(sizeof(struct siginfo) == 128, "siginfo");

/* entry.S */
u64 stub_copy(void *dst, const void *src, u64 n);
s64 stub_string(void *dst, const void *src, u64 max);
s64 stub_cmpxchg64(u64 *p, u64 old, u64 new);
s64 stub_cas32(u32 *p, u32 old, u32 new);
s64 guest_futex(u64 uaddr, u64 op, u64 val, u64 timeout, u64 uaddr2, u64 val3, struct thread *t);
s64 sys6(u64 nr, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
s64 clone_thread(u64 flags, u64 stack, void *ptid, void *ctid, void (*fn)(struct thread *), struct thread *arg);
void start_guest(u64 rip, u64 rsp) __attribute__((noreturn));
void sig_return(struct ucontext *uc, struct thread *t) __attribute__((noreturn));
void sig_entry(void);
void sig_restorer(void);
void fast_entry(void);
extern const u8 copy_insn[], copy_fault[], string_begin[], string_end[], string_fault[], cas_insn[], cas_fault[],
	cas32_insn[], futex_begin[], futex_end[], futex_abort[], exit_check[], exit_end[], exit_trap[], trap_insn[],
	sig_check[], sig_end[], sig_kicked[];

/* talk.c */
struct thread *thread_at(u64 i);
struct slot *slot_at(u64 i);
u32 converse(struct thread *t, u32 kind, struct ucontext *uc);
u32 await(struct thread *t, struct ucontext *uc);

/* ops.c */
s64 run_op(struct thread *t, struct ucontext *uc, struct op *op);
void set_base(struct thread *t);
/* A thread's signal stack is its private area but for the first page. */
#define SIGNAL_STACK(t) ((u64)(t) + 4096)
#define SIGNAL_STACK_SIZE (PRIV_SIZE - 4096)
#define FORKED 0x100000 /* run_op: this is the child of a fork */

/* frame.c */
s64 deliver(struct thread *t, struct ucontext *uc, struct op *op);
s64 guest_sigreturn(struct ucontext *uc);
void frame_reset(struct ucontext *uc);
struct ucontext *copy_frame(struct ucontext *uc, u64 top);

/* calls.c */
int local_call(struct thread *t, u64 nr, u64 *a, s64 *result);
s64 native_call(struct thread *t, u64 nr, u64 *a);
void rseq_end(struct thread *t);
s64 clock(struct slot *s, u64 *a);
void precopy(struct slot *s, u64 nr, u64 *a);

/* socks.c */
int box_write(struct slot *s, u64 *a, s64 *result);
int box_read(struct slot *s, u64 *a, s64 *result);
int post_ctl(struct slot *s, u64 *a, s64 *result);

#define SYS1(n, a) sys6(n, (u64)(a), 0, 0, 0, 0, 0)
#define SYS2(n, a, b) sys6(n, (u64)(a), (u64)(b), 0, 0, 0, 0)
#define SYS3(n, a, b, c) sys6(n, (u64)(a), (u64)(b), (u64)(c), 0, 0, 0)

enum {
	NR_read = 0, NR_open = 2, NR_chdir = 80, NR_capset = 126,
	NR_mmap = 9, NR_mprotect = 10, NR_munmap = 11, NR_rt_sigaction = 13, NR_rt_sigreturn = 15, NR_sched_yield = 24,
	NR_mremap = 25, NR_madvise = 28, NR_getpid = 39, NR_recvmsg = 47, NR_clone = 56, NR_exit = 60, NR_close = 3,
	NR_sigaltstack = 131, NR_prctl = 157, NR_arch_prctl = 158, NR_futex = 202, NR_getdents64 = 217, NR_seccomp = 317, NR_membarrier = 324, NR_rseq = 334,
};

static inline void copy8(u64 *d, const u64 *s, u64 n)
{
	for (u64 i = 0; i < n; i++)
		d[i] = s[i];
}

static inline u64 rdtsc(void)
{
	u32 lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (u64)hi << 32 | lo;
}

/* tsc_cpu: the time-stamp counter, and the CPU it was read on. */
static inline u64 tsc_cpu(u32 *cpu)
{
	u32 lo, hi, aux;
	__asm__ volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
	*cpu = aux & 0xfff;
	return (u64)hi << 32 | lo;
}

/* The Sentry's replies and the slot's other words are read once, as they are. */
#define ONCE(x) (*(volatile __typeof__(x) *)&(x))

#endif
