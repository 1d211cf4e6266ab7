/* talk.c: handing the turn to the Sentry and getting it back. */
#include "stub.h"

struct thread *thread_at(u64 i) { return (struct thread *)(PRIV_BASE + i * PRIV_SIZE); }
struct slot *slot_at(u64 i) { return (struct slot *)(SLOT_BASE + i * SLOT_SIZE); }

static void wait_turn(struct slot *s)
{
	u64 spin = ONCE(s->spin_tsc);
	if (spin) {
		u64 end = rdtsc() + spin;
		do {
			for (int i = 0; i < 16; i++) {
				if (ONCE(s->turn) == TURN_REPLY)
					return;
				__asm__ volatile("pause");
			}
		} while (rdtsc() < end);
	} else {
		for (u32 n = ONCE(s->yields); n && !ONCE(s->parked); n--) {
			if (ONCE(s->turn) == TURN_REPLY)
				return;
			SYS1(NR_sched_yield, 0);
		}
	}
	__atomic_store_n(&s->guest_sleeps, 1, __ATOMIC_SEQ_CST);
	u32 now;
	while ((now = ONCE(s->turn)) != TURN_REPLY)
		sys6(NR_futex, (u64)&s->turn, 9 /* WAIT_BITSET */, now, 0, 0, 1);
	ONCE(s->guest_sleeps) = 0;
}

static void post(struct slot *s, u32 kind)
{
	s->kind = kind;
	s->tsc = tsc_cpu(&s->cpu);
	__atomic_exchange_n(&s->turn, TURN_REQUEST, __ATOMIC_SEQ_CST);
	if (ONCE(s->sentry_sleeps))
		sys6(NR_futex, (u64)&s->turn, 10 /* WAKE_BITSET */, 1, 0, 0, 2);
}

/* await takes replies, and carries out their operations, until one is final.
 * It gives that one's flags. */
u32 await(struct thread *t, struct ucontext *uc)
{
	for (;;) {
		struct slot *s = t->slot;
		u32 kind = K_DONE;
		s64 r = 0;
		wait_turn(s);
		ONCE(s->turn) = TURN_GUEST;
		u32 n = ONCE(s->nops), flags = ONCE(s->rflags);
		for (u32 i = 0; i < n && i < MAX_OPS; i++) {
			r = run_op(t, uc, &s->op[i]);
			if (r == FORKED)
				break;
			if (r < 0 && r > -4096) {
				s->failed_op = i;
				s->op_errno = -r;
				kind = K_OPFAIL;
				break;
			}
		}
		if (r == FORKED)
			continue; /* the child's own slot has its first reply, or will */
		ONCE(s->done_seq) = ONCE(s->seq);
		if (kind == K_DONE && (flags & R_FINAL))
			return flags;
		post(s, kind);
	}
}

u32 converse(struct thread *t, u32 kind, struct ucontext *uc)
{
	post(t->slot, kind);
	return await(t, uc);
}
