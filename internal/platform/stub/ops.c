/* ops.c: the operations that a reply can ask for. Each gives a value, or an
 * errno below zero. */
#include "stub.h"

/* recv_fds takes the descriptors of one message into t->fd. */
static s64 recv_fds(struct thread *t, u64 want)
{
	u8 byte;
	struct { u64 len; s32 level, type; s32 fd[2]; } c;
	struct { void *base; u64 len; } iov = { &byte, 1 };
	struct { void *name; u32 namelen, pad; void *iov; u64 iovlen; void *control; u64 controllen; u32 flags, pad2; } m =
		{ 0, 0, 0, &iov, 1, &c, sizeof c, 0, 0 };
	s64 r;
	do
		r = SYS3(NR_recvmsg, t->sock, &m, 0);
	while (r == -4);
	if (r != 1 || m.controllen < 16 + 4 * want)
		return r < 0 ? r : -71;
	t->fd[0] = c.fd[0];
	if (want > 1)
		t->fd[1] = c.fd[1];
	return 0;
}

/* set_base points GS at t. */
void set_base(struct thread *t) { __asm__ volatile("wrgsbase %0" : : "r"(t)); }

static void die_with_sentry(void) { SYS2(NR_prctl, 1 /* PR_SET_PDEATHSIG */, 9); }

/* do_fork: the descriptors of the child's slots and socket were received. */
static s64 do_fork(struct thread *t)
{
	s64 pid = sys6(NR_clone, 0x8000 | 17 /* CLONE_PARENT, SIGCHLD */, 0, 0, 0, 0, 0);
	if (pid) {
		SYS1(NR_close, t->fd[0]);
		SYS1(NR_close, t->fd[1]);
		return pid;
	}
	die_with_sentry();
	/* The child's only thread keeps its private area, and takes slot 0. */
	sys6(NR_mmap, SLOT_BASE, SLOT_SIZE * MAX_SLOTS, 3, 0x4011 /* SHARED FIXED NORESERVE */, t->fd[0], 0);
	SYS1(NR_close, t->fd[0]);
	SYS1(NR_close, t->sock);
	t->sock = t->fd[1];
	t->slot = slot_at(0);
	t->kicked = 0;
	return FORKED;
}

static void child_main(struct thread *t)
{
	set_base(t);
	if (t->tls_set)
		__asm__ volatile("wrfsbase %0" : : "r"(t->tls));
	struct ucontext *uc = (struct ucontext *)t->saved_rsp;
	await(t, uc);
	sig_return(uc, t);
}

/* do_clone: a[0] 0 thread, 1 vfork; a[1] the child's slot; a[2] its stack
 * pointer or 0; a[3] its FS base if a[4]. The child begins as a copy of the
 * caller's frame with rax 0, by whose sigreturn it gets its signal stack too: until
 * then signals come on the stack that it runs on, which is the same. */
static s64 do_clone(struct thread *t, struct ucontext *uc, u64 *a)
{
	u64 i = a[1];
	if (!uc || i >= MAX_SLOTS)
		return -22;
	struct thread *c = thread_at(i);
	c->self = (u64)c;
	c->stack_top = (u64)c + PRIV_SIZE;
	c->slot = slot_at(i);
	c->sock = t->sock;
	c->kicked = 0;
	c->intr = 0;
	c->rseq = 0;
	struct ucontext *cu = copy_frame(uc, c->stack_top);
	cu->ss_sp = SIGNAL_STACK(c);
	cu->ss_flags = 0;
	cu->ss_size = SIGNAL_STACK_SIZE;
	cu->r.rax = 0;
	if (a[2])
		cu->r.rsp = a[2];
	c->saved_rsp = (u64)cu;
	c->tls_set = (u32)a[4];
	c->tls = a[3];
	/* thread: VM FS FILES SIGHAND THREAD SYSVSEM PARENT_SETTID CHILD_CLEARTID;
	 * vfork: VM FILES PARENT PARENT_SETTID CHILD_CLEARTID and SIGCHLD */
	u64 flags = a[0] ? 0x100 | 0x400 | 0x8000 | 0x100000 | 0x200000 | 17 : 0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x100000 | 0x200000;
	return clone_thread(flags, (u64)cu - 128 & -16ul, &c->slot->host_tid, &c->slot->host_tid, child_main, c);
}

/* robust marks the robust futexes of a dying thread (set_robust_list(2)).
 * a[0] the list's head, a[1] the guest's tid. */
static void robust_one(u64 entry, s64 offset, u32 tid)
{
	u32 *p = (u32 *)((entry & ~1ul) + offset), v;
	if (((u64)p & 3) || (u64)p >= STUB_BASE)
		return;
	for (int i = 0; i < 1000; i++) {
		if (stub_copy(&v, p, 4) || (v & 0x3fffffff) != tid)
			return;
		s64 r = stub_cas32(p, v, (v & 0x80000000) | 0x40000000);
		if (r < 0)
			return;
		if (r == 0)
			break;
	}
	if (v & 0x80000000)
		sys6(NR_futex, (u64)p, 1, 1, 0, 0, 0);
}

static void robust(u64 head, u32 tid)
{
	u64 h[3], entry, next;
	if (head >= STUB_BASE || stub_copy(h, (void *)head, 24))
		return;
	entry = h[0];
	for (int n = 0; (entry & ~1ul) != head && n < 2048; n++) {
		if ((entry & ~1ul) >= STUB_BASE)
			break;
		int bad = stub_copy(&next, (void *)(entry & ~1ul), 8) != 0;
		if (entry != h[2])
			robust_one(entry, (s64)h[1], tid);
		if (bad)
			break;
		entry = next;
	}
	if (h[2])
		robust_one(h[2], (s64)h[1], tid);
}

/* leave ends this thread; ctid is the guest's clear_child_tid or 0. Who waits for that
 * may use the thread's memory again, its rseq area too. */
static void leave(struct thread *t, u64 ctid)
{
	u32 zero = 0;
	rseq_end(t);
	if (ctid && ctid < STUB_BASE && !stub_copy((void *)ctid, &zero, 4))
		sys6(NR_futex, ctid, 1, 1, 0, 0, 0);
	for (;;)
		SYS1(NR_exit, 0);
}

/* patch changes 8 bytes of code, if they are still what the Sentry saw. a[0]
 * the address, a[1] old, a[2] new, a[3] the page's protection. The bytes lie in
 * one cache line, so that other threads see all of them or none. */
static s64 patch(u64 *a)
{
	u64 page = a[0] & -4096ul;
	s64 r = SYS3(NR_mprotect, page, 4096, 7);
	if (r < 0)
		return 0;
	stub_cmpxchg64((u64 *)a[0], a[1], a[2]);
	SYS3(NR_mprotect, page, 4096, a[3]);
	return 0;
}

/* poke writes a[2] bytes of the slot's data at a[1] into the Sentry's own page
 * of trampolines at a[0], whose protection is a[3]. */
static s64 poke(struct slot *s, u64 *a)
{
	u64 page = a[0] & -4096ul;
	s64 r = SYS3(NR_mprotect, page, 4096, 7);
	if (r < 0)
		return r;
	u64 rest = stub_copy((void *)a[0], (u8 *)s + SLOT_DATA + a[1], a[2]);
	r = SYS3(NR_mprotect, page, 4096, a[3]);
	return rest ? -14 : r;
}

/* empty makes of this process's only thread what the zygote forks: nothing of
 * the guest's is mapped, and every register is zero. */
static s64 empty(struct thread *t, struct ucontext *uc)
{
	if (!uc)
		return -22;
	rseq_end(t);
	s64 r = SYS2(NR_munmap, 0, STUB_BASE);
	if (r < 0)
		return r;
	t->slow = 0;
	t->intr = 0;
	__asm__ volatile("wrfsbase %0" : : "r"(0ul));
	frame_reset(uc);
	return 0;
}

static s64 install_filter(struct slot *s, u64 off, u64 n)
{
	struct { unsigned short len; u64 insns; } prog = { n, (u64)s + SLOT_DATA + off };
	s64 r = sys6(NR_prctl, 38 /* PR_SET_NO_NEW_PRIVS */, 1, 0, 0, 0, 0);
	if (r < 0)
		return r;
	return SYS3(NR_seccomp, 1 /* SECCOMP_SET_MODE_FILTER */, 4 /* SPEC_ALLOW */, &prog);
}

s64 run_op(struct thread *t, struct ucontext *uc, struct op *op)
{
	struct slot *s = t->slot;
	u64 a[7];
	copy8(a, op->a, 7);
	switch (ONCE(op->code)) {
	case OP_COPYOUT:
		if (a[0] >= STUB_BASE || a[0] + a[2] > STUB_BASE)
			return -14;
		return stub_copy((void *)a[0], (u8 *)s + SLOT_DATA + a[1], a[2]) ? -14 : 0;
	case OP_MMAP:
		return s->result = sys6(NR_mmap, a[0], a[1], a[2], a[3], a[4] ? t->fd[0] : -1, a[5]);
	case OP_MUNMAP:
		return SYS2(NR_munmap, a[0], a[1]);
	case OP_MPROTECT:
		return SYS3(NR_mprotect, a[0], a[1], a[2]);
	case OP_MREMAP:
		return s->result = sys6(NR_mremap, a[0], a[1], a[2], a[3], a[4], 0);
	case OP_MADVISE:
		return SYS3(NR_madvise, a[0], a[1], a[2]);
	case OP_RECVFD:
		return recv_fds(t, a[0]);
	case OP_CLOSEFD:
		SYS1(NR_close, t->fd[0]);
		return 0;
	case OP_FORK: {
		s64 r = do_fork(t);
		if (r != FORKED)
			s->result = r;
		return r;
	}
	case OP_CLONE:
		return s->result = do_clone(t, uc, a);
	case OP_EMPTY:
		return empty(t, uc);
	case OP_START:
		if (uc) {
			uc->r.rip = a[0];
			uc->r.rsp = a[1];
		}
		t->rip_start = a[0];
		t->rsp_start = a[1];
		return 0;
	case OP_DELIVER:
		return uc ? deliver(t, uc, op) : -22;
	case OP_RESTART:
		if (uc) {
			uc->r.rax = a[0];
			uc->r.rip -= a[1];
		}
		return 0;
	case OP_PATCH:
		return patch(a);
	case OP_POKE:
		return poke(s, a);
	case OP_ROBUST:
		robust(a[0], (u32)a[1]);
		return 0;
	case OP_EXIT:
		leave(t, a[0]);
		return 0;
	case OP_SECCOMP:
		return install_filter(s, a[0], a[1]);
	case OP_SETSP:
		if (uc)
			uc->r.rsp = a[0];
		return 0;
	case OP_SETFS:
		__asm__ volatile("wrfsbase %0" : : "r"(a[0]));
		return 0;
	}
	return -22;
}
