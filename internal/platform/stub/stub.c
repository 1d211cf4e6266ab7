/* stub.c: calls, signals and the zygote. */
#include "stub.h"
#include "asm_layout.h"

_Static_assert(PRIV_BASE == PRIV_BASE_A && PRIV_SIZE == PRIV_SIZE_A && MAX_SLOTS == MAX_SLOTS_A, "asm_layout.h");
_Static_assert(__builtin_offsetof(struct thread, kicked) == T_KICKED, "asm_layout.h");
_Static_assert(__builtin_offsetof(struct slot, spin_tsc) == 0xc0, "slot");
_Static_assert(__builtin_offsetof(struct slot, kind) == 0x100, "slot");
_Static_assert(__builtin_offsetof(struct slot, seq) == 0x200, "slot");
_Static_assert(__builtin_offsetof(struct slot, op) == 0x240, "slot");
_Static_assert(sizeof(struct slot) <= 4096, "slot");
_Static_assert(sizeof(struct socks) <= NOTE_AT - SOCKS_AT, "socks");

#define OFF(f) (u32) __builtin_offsetof(struct slot, f)
/* What the Sentry reads in the file: where trampolines go, and numbers that its
 * tests compare with their own. */
__attribute__((section(".layout"), used)) const struct {
	void (*fast)(void);
	u32 numbers[69];
} layout = { fast_entry, {
	OFF(turn), OFF(sentry_sleeps), OFF(guest_sleeps), OFF(done_seq), OFF(host_tid), OFF(mask), OFF(robust), OFF(loan), OFF(posted), OFF(drop_lo), OFF(drop_hi), OFF(fd_lent), OFF(fd_head), OFF(fd_tail), OFF(spin_tsc), OFF(yields),
	OFF(answers), OFF(maskable), OFF(pid), OFF(kind), OFF(nr), OFF(arg), OFF(ip), OFF(sp), OFF(sig), OFF(code), OFF(addr), OFF(trapno),
	OFF(err), OFF(result), OFF(failed_op), OFF(op_errno), OFF(tsc), OFF(nin), OFF(in), OFF(seq), OFF(nops), OFF(rax),
	OFF(rflags), OFF(op), sizeof(struct op), SLOT_SIZE, MAX_SLOTS, PRIV_SIZE, STUB_TEXT_SIZE, IN_MAX, MAX_OPS, POST_AT, POST_MAX, FDS_AT, FDS, FD_OPS, OFF(note), NOTE_AT, sizeof(struct note), NOTE_NAME, NOTE_DENTS,
	OFF(boxes), OFF(box_bits), OFF(ctl_lent), OFF(lazy), SOCKS_AT, BOX_FDS, BOXES, BOX_MAX, CTL_OPS, __builtin_offsetof(struct socks, ops), __builtin_offsetof(struct socks, boxes), sizeof(struct box),
} };

struct pair {
	s64 rax;
	u64 trap;
};

/* stub_fast: a call through a patched site. regs: rax rdi rsi rdx r10 r8 r9. */
struct pair stub_fast(struct thread *t, u64 *regs)
{
	struct slot *s = t->slot;
	u64 nr = regs[0];
	struct pair p = { 0, 0 };
	if (local_call(t, nr, regs + 1, &p.rax))
		return p;
	if (nr == 228 && (p.rax = clock(s, regs + 1)) != -1)
		return p;
	for (;;) {
		precopy(s, nr, regs + 1);
		s->nr = nr;
		copy8(s->arg, regs + 1, 6);
		s->ip = t->saved_rip;
		s->sp = t->saved_rsp;
		t->kicked = 0;
		u32 flags = converse(t, K_FAST, 0);
		if (flags & R_RETRY) {
			p.rax = native_call(t, nr, regs + 1);
			if (p.rax != -4)
				return p;
			continue;
		}
		p.rax = ONCE(s->rax);
		p.trap = flags & R_TRAP;
		return p;
	}
}

static void finish(struct thread *t, struct ucontext *uc, u32 flags)
{
	if (!(flags & R_KEEPRAX))
		uc->r.rax = ONCE(t->slot->rax);
}

static void describe(struct slot *s, struct ucontext *uc)
{
	s->ip = uc->r.rip;
	s->sp = uc->r.rsp;
}

/* chance is false once in mask + 1 times. */
static int chance(u32 mask) { return (rdtsc() >> 4 & mask) != 0; }

/* stub_call: a call through SIGSYS. */
static void stub_call(struct thread *t, struct siginfo *si, struct ucontext *uc)
{
	struct slot *s = t->slot;
	u64 nr = (u32)si->syscall;
	u64 a[6] = { uc->r.rdi, uc->r.rsi, uc->r.rdx, uc->r.r10, uc->r.r8, uc->r.r9 };
	s64 result;
	s->code = 0;
	s->err = 0;
	if (si->arch != 0xc000003e) {
		s->err = 1; /* int 0x80 */
		nr = ~0u;
	} else if (nr == NR_rt_sigreturn) {
		s->code = guest_sigreturn(uc);
		a[0] = uc->link;
		a[1] = uc->reserved[0];
		a[2] = uc->reserved[1];
		a[3] = uc->reserved[2];
		uc->link = 0;
	}
	/* Let the Sentry see some of these sites too, so that it patches them: not the
	 * few calls of a program's start, and by chance, for a program's calls come in
	 * rounds. */
	u32 n = ++t->slow;
	if ((nr == NR_arch_prctl || n < 64 || chance(n < 512 ? 3 : 15)) && local_call(t, nr, a, &result)) {
		uc->r.rax = result;
		return;
	}
	for (;;) {
		precopy(s, nr, a);
		s->nr = nr;
		copy8(s->arg, a, 6);
		describe(s, uc);
		t->kicked = 0;
		u32 flags = converse(t, K_SYSCALL, uc);
		if (!(flags & R_RETRY)) {
			finish(t, uc, flags);
			return;
		}
		result = native_call(t, nr, a);
		if (result != -4) {
			uc->r.rax = result;
			return;
		}
	}
}

static void stub_fault(struct thread *t, int sig, struct siginfo *si, struct ucontext *uc)
{
	struct slot *s = t->slot;
	s->sig = sig;
	s->code = si->code;
	s->addr = si->addr;
	s->trapno = uc->r.trapno;
	s->err = uc->r.err;
	s->nin = 0;
	describe(s, uc);
	t->kicked = 0;
	converse(t, K_FAULT, uc);
}

void stub_kicked(struct ucontext *uc, struct thread *t)
{
	t->slot->nin = 0;
	describe(t->slot, uc);
	t->kicked = 0;
	u32 flags = converse(t, K_INTERRUPT, uc);
	if (!(flags & R_KEEPRAX))
		uc->r.rax = ONCE(t->slot->rax);
}

static int within(u64 ip, const u8 *from, const u8 *to) { return ip >= (u64)from && ip < (u64)to; }

/* in_clock: the vdso runs for the stub, whose stack sp is then. */
static int in_clock(struct thread *t, u64 ip, u64 sp)
{
	return ip >= VDSO_BASE && ip < PRIV_BASE && sp - (u64)t < PRIV_SIZE;
}

static int in_stub(u64 ip) { return ip >= STUB_BASE && ip < STUB_BASE + STUB_TEXT_SIZE; }

/* fixup: a fault in one of the copy routines goes on at its end. */
static int fixup(u64 *ip)
{
	if (*ip == (u64)copy_insn)
		*ip = (u64)copy_fault;
	else if (within(*ip, string_begin, string_end))
		*ip = (u64)string_fault;
	else if (*ip == (u64)cas_insn || *ip == (u64)cas32_insn)
		*ip = (u64)cas_fault;
	else
		return 0;
	return 1;
}

/* kick_in_stub: note it, and move off the places where it would be lost. */
static void kick_in_stub(struct thread *t, u64 *ip)
{
	t->kicked = 1;
	if (within(*ip, futex_begin, futex_end))
		*ip = (u64)futex_abort;
	else if (within(*ip, exit_check, exit_end))
		*ip = (u64)exit_trap;
	else if (within(*ip, sig_check, sig_end))
		*ip = (u64)sig_kicked;
}

/* stub_signal handles every signal of the host's. It gives 1 if kicks are to be
 * looked for on the way out. */
int stub_signal(int sig, struct siginfo *si, struct ucontext *uc, struct thread *t)
{
	u64 ip = uc->r.rip;
	if (in_stub(ip)) {
		if (sig == SIG_KICK) {
			kick_in_stub(t, &uc->r.rip);
			return 0;
		}
		if (sig == 4 && ip == (u64)trap_insn) {
			uc->r.rip = t->saved_rip;
			stub_kicked(uc, t);
			return 1;
		}
		if ((sig == 11 || sig == 7) && fixup(&uc->r.rip))
			return 0;
		/* The guest jumped in here, or the stub is wrong: end this process,
		 * by a call that the filter does not let pass. */
		for (;;)
			SYS1(NR_getpid, 0);
	}
	if (sig == SIG_KICK && in_clock(t, ip, uc->r.rsp)) {
		t->kicked = 1;
		return 0;
	}
	if (sig == 31)
		stub_call(t, si, uc);
	else if (sig == SIG_KICK)
		stub_kicked(uc, t);
	else
		stub_fault(t, sig, si, uc);
	return 1;
}

static void set_action(int sig)
{
	/* ONSTACK SIGINFO RESTORER; SIG_KICK is held off in its own handler alone.
	 * NODEFER for faults: the frame of a fault may be built on bad memory. */
	u64 nodefer = sig == 11 || sig == 7 || sig == 4 ? 0x40000000 : 0;
	struct { u64 handler, flags, restorer, mask; } sa = { (u64)sig_entry, 0x0c000004 | nodefer, (u64)sig_restorer, 0 };
	sys6(NR_rt_sigaction, sig, (u64)&sa, 0, 8, 0, 0);
}

/* read_maps puts the process's memory map into the slot's data, for the Sentry:
 * it may see this process by another pid in /proc, or not at all. The working
 * directory is /proc, and is left for good. */
static void read_maps(struct slot *s)
{
	static const char path[] = "self/maps", root[] = "/";
	u64 n = 0;
	s64 fd = SYS3(NR_open, path, 0, 0), r = 0;
	while (fd >= 0 && n < IN_MAX && (r = SYS3(NR_read, fd, (u8 *)s + SLOT_DATA + n, IN_MAX - n)) > 0)
		n += r;
	if (fd >= 0)
		SYS1(NR_close, fd);
	s->result = fd < 0 ? (u64)fd : n;
	SYS1(NR_chdir, root);
}

/* no_caps gives up every capability. */
static void no_caps(void)
{
	struct { u32 version; s32 pid; } head = { 0x20080522, 0 };
	u32 none[6] = { 0 };
	SYS2(NR_capset, &head, none);
}

/* zygote_main: the first stub process. Descriptor 3 is the memfd of its slots,
 * 4 its socket. What else is mapped is moved or unmapped by the Sentry's
 * operations; the last one installs the filter. A process that the zygote
 * forks waits here for OP_START. */
void zygote_main(u64 *sp)
{
	static const u8 sigs[] = { 4, 5, 7, 8, 11, 31, SIG_KICK, 16 /* SIGSTKFLT */ };
	struct thread *t = thread_at(0);
	(void)sp;
	sys6(NR_mmap, SLOT_BASE, SLOT_SIZE * MAX_SLOTS, 3, 0x4011, 3, 0);
	SYS1(NR_close, 3);
	t->self = (u64)t;
	t->stack_top = (u64)t + PRIV_SIZE;
	t->slot = slot_at(0);
	t->sock = 4;
	set_base(t);
	struct { u64 sp; u32 flags, pad; u64 size; } ss = { SIGNAL_STACK(t), 0, 0, SIGNAL_STACK_SIZE };
	SYS2(NR_sigaltstack, &ss, 0);
	for (u64 i = 0; i < sizeof sigs; i++)
		set_action(sigs[i]);
	SYS2(NR_prctl, 1, 9);
	SYS2(NR_membarrier, 4 /* REGISTER_GLOBAL_EXPEDITED, for children too */, 0);
	no_caps();
	read_maps(t->slot);
	converse(t, K_READY, 0);
	start_guest(t->rip_start, t->rsp_start);
}
