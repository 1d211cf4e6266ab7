/* calls.c: calls answered here, and what is sent along with the others. */
#include "stub.h"

/* native_futex: -4 (EINTR) when a kick cut it short. */
static s64 native_futex(struct thread *t, u64 *a)
{
	if (a[0] >= STUB_BASE)
		return -14;
	return guest_futex(a[0], a[1], a[2], a[3], a[4], a[5], t);
}

/* fs_base is arch_prctl(2) for the FS base, which is the host's own register. */
static int fs_base(u64 *a, s64 *result)
{
	u64 base;
	*result = 0;
	switch ((u32)a[0]) {
	case 0x1002: /* ARCH_SET_FS */
		if (a[1] >= 0x7ffffffff000)
			*result = -1;
		else
			__asm__ volatile("wrfsbase %0" : : "r"(a[1]));
		return 1;
	case 0x1003: /* ARCH_GET_FS */
		__asm__ volatile("rdfsbase %0" : "=r"(base));
		if (a[1] >= STUB_BASE || stub_copy((void *)a[1], &base, 8))
			*result = -14;
		return 1;
	}
	return 0;
}

/* rseq is rseq(2): the host's kernel keeps the CPU's number in the guest's area, and
 * aborts the sequence that it preempts there. What is registered is kept, for the
 * thread's end and for exec, which leave none behind. */
static s64 rseq(struct thread *t, u64 *a)
{
	s64 r;
	if ((u32)a[2] > 1 /* RSEQ_FLAG_UNREGISTER */)
		return -22;
	u64 area = a[0] < STUB_BASE ? a[0] : -4096ul | a[0]; /* beyond all memory */
	r = sys6(NR_rseq, area, (u32)a[1], (u32)a[2], (u32)a[3], 0, 0);
	if (r == 0) {
		t->rseq = a[2] & 1 ? 0 : a[0];
		t->rseq_len = a[1];
		t->rseq_sig = a[3];
	}
	return r;
}

void rseq_end(struct thread *t)
{
	if (t->rseq)
		sys6(NR_rseq, t->rseq, t->rseq_len, 1, t->rseq_sig, 0, 0);
	t->rseq = 0;
}

/* native_call carries out nr, one of the calls that are the host's to do; only a
 * futex call gives -4, when a kick cut it short. */
s64 native_call(struct thread *t, u64 nr, u64 *a)
{
	s64 r;
	if (nr == NR_rseq)
		return rseq(t, a);
	if (nr == NR_arch_prctl)
		return fs_base(a, &r) ? r : -22;
	return native_futex(t, a);
}

/* clock reads a clock by the host's vdso, from the fast path only: where the vdso
 * has to make a call, that comes by SIGSYS. -1: ask the Sentry. */
s64 clock(struct slot *s, u64 *a)
{
	s64 (*gettime)(s64, u64 *) = (s64 (*)(s64, u64 *))ONCE(s->gettime);
	u64 ts[2];
	/* REALTIME MONOTONIC MONOTONIC_RAW REALTIME_COARSE MONOTONIC_COARSE BOOTTIME TAI */
	if (!gettime || (u32)a[0] > 11 || !(0x8f3u >> (u32)a[0] & 1) || gettime((u32)a[0], ts) != 0)
		return -1;
	if (a[1] >= STUB_BASE || stub_copy((void *)a[1], ts, 16))
		return -14;
	return 0;
}

/* sigmask is rt_sigprocmask(2) while no signal waits for the thread. The Sentry
 * that wants to know the mask clears maskable first, then reads it. Here the mask
 * is written first; if maskable was cleared meanwhile, the thread goes to the
 * Sentry on the way out, as if it had been kicked, and shows what it has now. */
static int sigmask(struct thread *t, u64 *a, s64 *result)
{
	struct slot *s = t->slot;
	u64 old = ONCE(s->mask), set;
	if (!ONCE(s->maskable) || a[3] != 8 || a[1] >= STUB_BASE || a[2] >= STUB_BASE)
		return 0;
	if (a[1]) {
		if (stub_copy(&set, (void *)a[1], 8))
			return 0;
		switch ((u32)a[0]) {
		case 0: /* SIG_BLOCK */
			set |= old;
			break;
		case 1: /* SIG_UNBLOCK */
			set = old & ~set;
			break;
		case 2: /* SIG_SETMASK */
			break;
		default:
			return 0;
		}
		__atomic_exchange_n(&s->mask, set & ~0x40100ul /* KILL STOP */, __ATOMIC_SEQ_CST);
		if (!ONCE(s->maskable))
			t->kicked = 1;
	}
	*result = a[2] && stub_copy((void *)a[2], &old, 8) ? -14 : 0;
	return 1;
}

/* posted has the Sentry look at what was left for it, while the guest goes on. */
static void posted(struct slot *s)
{
	u32 turn = TURN_GUEST;
	__atomic_compare_exchange_n(&s->turn, &turn, TURN_POSTED, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	if (ONCE(s->sentry_sleeps))
		sys6(NR_futex, (u64)&s->turn, 10 /* WAKE_BITSET */, 1, 0, 0, 2);
}

/* post_write is write(2) to a pipe whose room was lent to this thread: the bytes
 * are left in the slot, and the call is done. The Sentry that ends the loan
 * clears loan first, then takes what is posted. Here posted is set first: if the
 * loan is over by then, the write is withdrawn, unless it was taken already. */
static int post_write(struct slot *s, u64 *a, s64 *result)
{
	u32 loan = ONCE(s->loan), n = a[2];
	if (!loan || (u32)a[0] + 1 != loan || a[2] - 1 >= POST_MAX || ONCE(s->posted) || a[1] > STUB_BASE - POST_MAX)
		return 0;
	if (stub_copy((u8 *)s + SLOT_DATA + POST_AT, (void *)a[1], n))
		return 0;
	*result = n;
	__atomic_exchange_n(&s->posted, n, __ATOMIC_SEQ_CST);
	if (ONCE(s->loan) != loan)
		return !__atomic_compare_exchange_n(&s->posted, &n, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	posted(s);
	return 1;
}

/* post_fd leaves an operation for the table; 0 if it cannot. As in post_write, one
 * that comes too late is withdrawn, unless it was taken already. */
static int post_fd(struct slot *s, struct fds *f, u32 op)
{
	u32 head = ONCE(s->fd_head), *at = &f->ops[head % FD_OPS];
	if (head - ONCE(s->fd_tail) >= FD_OPS)
		return 0;
	ONCE(*at) = op;
	__atomic_exchange_n(&s->fd_head, head + 1, __ATOMIC_SEQ_CST);
	if (!ONCE(s->fd_lent))
		return !__atomic_compare_exchange_n(at, &op, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	posted(s);
	return 1;
}

static int dup_fd(struct slot *s, struct fds *f, u32 fd, u64 min, u32 cloexec, s64 *result)
{
	if (!(ONCE(f->state[fd]) & FD_QUIET))
		return 0;
	for (u64 n = min; n < FDS; n++) {
		u8 state = ONCE(f->state[n]);
		if (!state)
			return 0;
		if (state != FD_FREE)
			continue;
		if (!post_fd(s, f, FD_DUP | fd << 8 | (u32)n << 16 | cloexec << 24))
			return 0;
		ONCE(f->flags[n]) = ONCE(f->flags[fd]);
		ONCE(f->state[n]) = FD_QUIET | ONCE(f->state[fd]) & FD_FLAGS | (cloexec ? FD_CLOEXEC : 0);
		*result = n;
		return 1;
	}
	return 0;
}

static struct note *note_of(struct slot *s) { return (struct note *)((u8 *)s + SLOT_DATA + NOTE_AT); }

/* named tells whether addr is the note's name. */
static int named(struct note *n, u64 addr)
{
	u8 name[NOTE_NAME];
	s64 len = addr < STUB_BASE - NOTE_NAME ? stub_string(name, (void *)addr, NOTE_NAME) : -1;
	if (len < 0 || len != ONCE(n->name_len))
		return 0;
	for (s64 i = 0; i < len; i++)
		if (name[i] != ONCE(n->name[i]))
			return 0;
	return 1;
}

/* noted_stat is fstat(2) and newfstatat(2) of the file that the note tells of. */
static int noted_stat(struct slot *s, u64 nr, u64 *a, s64 *result)
{
	struct note *n = note_of(s);
	u32 num = ONCE(s->note);
	u64 to = nr == 5 ? a[1] : a[2];
	u8 first;
	if (!num || to > STUB_BASE - 144)
		return 0;
	if (nr == 5 || (u32)a[3] == 0x1000 /* AT_EMPTY_PATH */) {
		if ((u32)a[0] + 1 != num)
			return 0;
		if (nr != 5 && (a[1] >= STUB_BASE || stub_copy(&first, (void *)a[1], 1) || first))
			return 0;
	} else if ((u32)a[3] & ~0x100 /* AT_SYMLINK_NOFOLLOW */ || (s32)a[0] < 0 || (s32)a[0] != ONCE(n->dir) || !named(n, a[1])) {
		return 0;
	}
	*result = 0;
	return !stub_copy((void *)to, n->stat, 144);
}

/* noted_dents is the first getdents64(2) of a directory whose entries the note has. */
static int noted_dents(struct slot *s, struct fds *f, u32 fd, u64 *a, s64 *result)
{
	struct note *n = note_of(s);
	u32 len = ONCE(n->dents_len);
	if (ONCE(s->note) != fd + 1 || !len || len > NOTE_DENTS || (u32)a[2] < len || a[1] > STUB_BASE - len)
		return 0;
	if (stub_copy((void *)a[1], n->dents, len) || !post_fd(s, f, FD_READ | fd << 8))
		return 0;
	ONCE(s->note) = 0;
	ONCE(f->at_end) = fd + 1;
	*result = len;
	return 1;
}

/* fd_call is close(2), dup(2), fcntl(2) and getdents64(2) of a table that is lent,
 * as far as it is known here. */
static int fd_call(struct slot *s, u64 nr, u64 *a, s64 *result)
{
	struct fds *f = (struct fds *)((u8 *)s + SLOT_DATA + FDS_AT);
	u32 fd = a[0];
	if (!ONCE(s->fd_lent) || fd >= FDS)
		return 0;
	u8 state = ONCE(f->state[fd]);
	if (nr == 32)
		return dup_fd(s, f, fd, 0, 0, result);
	*result = 0;
	if (nr == 3) {
		if (!(state & FD_QUIET) || !post_fd(s, f, FD_CLOSE | fd << 8))
			return 0;
		ONCE(f->state[fd]) = FD_FREE;
		if (ONCE(s->note) == fd + 1)
			ONCE(s->note) = 0;
		if (ONCE(note_of(s)->dir) == (s32)fd)
			ONCE(note_of(s)->dir) = -1;
		return 1;
	}
	if (nr == NR_getdents64)
		return ONCE(f->at_end) == fd + 1 || noted_dents(s, f, fd, a, result);
	if (!(state & (FD_QUIET | FD_BUSY)))
		return 0;
	switch ((u32)a[1]) {
	case 0: /* F_DUPFD */
	case 1030: /* F_DUPFD_CLOEXEC */
		return dup_fd(s, f, fd, a[2], (u32)a[1] == 1030, result);
	case 1: /* F_GETFD */
		*result = state & FD_CLOEXEC ? 1 : 0;
		return 1;
	case 2: /* F_SETFD, to what it is */
		return (a[2] & 1) == (state & FD_CLOEXEC ? 1 : 0);
	case 3: /* F_GETFL */
		*result = ONCE(f->flags[fd]);
		return (state & FD_FLAGS) != 0;
	}
	return 0;
}

/* drop is MADV_DONTNEED inside the thread's own stack, which glibc's threads end
 * with. */
static int drop(struct slot *s, u64 *a, s64 *result)
{
	u64 lo = ONCE(s->drop_lo), hi = ONCE(s->drop_hi);
	if ((u32)a[2] != 4 || a[0] < lo || a[0] >= hi || a[1] > hi - a[0] || hi > STUB_BASE)
		return 0;
	*result = SYS3(NR_madvise, a[0], a[1], 4);
	return *result == 0;
}

/* local_call answers nr here if it can: 1 and the result, or 0. */
int local_call(struct thread *t, u64 nr, u64 *a, s64 *result)
{
	struct slot *s = t->slot;
	u32 valid = ONCE(s->answers);
	switch (nr) {
	case 0: case 45: /* read recvfrom */
		if (nr == 45 && ((u32)a[3] & ~0x40u /* MSG_DONTWAIT */ || a[4]))
			return 0;
		return box_read(s, a, result);
	case 1:
		return post_write(s, a, result) || box_write(s, a, result);
	case 44: /* sendto */
		if ((u32)a[3] & ~0x4040u /* MSG_DONTWAIT MSG_NOSIGNAL */ || a[4])
			return 0;
		return box_write(s, a, result);
	case 233: /* epoll_ctl */
		return post_ctl(s, a, result);
	case 3: case 32: case 72: case NR_getdents64:
		return fd_call(s, nr, a, result);
	case 5: case 262: /* fstat newfstatat */
		return noted_stat(s, nr, a, result);
	case 39:
		*result = ONCE(s->pid);
		return valid & 1;
	case 186:
		*result = ONCE(s->tid);
		return valid & 1;
	case 110:
		*result = ONCE(s->ppid);
		return valid >> 1 & 1;
	case 102:
		*result = ONCE(s->uid);
		return valid & 1;
	case 104:
		*result = ONCE(s->gid);
		return valid & 1;
	case 107:
		*result = ONCE(s->euid);
		return valid & 1;
	case 108:
		*result = ONCE(s->egid);
		return valid & 1;
	case NR_sched_yield:
		if (!(valid & 1))
			return 0;
		*result = SYS1(NR_sched_yield, 0);
		return 1;
	case NR_madvise:
		return valid & 1 && drop(s, a, result);
	case NR_arch_prctl:
		return valid & 1 && fs_base(a, result);
	case 14: /* rt_sigprocmask */
		return sigmask(t, a, result);
	case 273: /* set_robust_list */
		if (!(valid & 1) || a[1] != 24)
			return 0;
		s->robust = a[0];
		*result = 0;
		return 1;
	case NR_rseq:
		if (!(valid & 1))
			return 0;
		*result = rseq(t, a);
		return 1;
	case NR_futex: {
		u32 cmd = a[1] & 127;
		/* WAIT WAKE REQUEUE CMP_REQUEUE WAKE_OP WAIT_BITSET WAKE_BITSET */
		if (!(valid & 1) || cmd > 10 || !(0x63bu >> cmd & 1) || (a[1] & ~0x1fful))
			return 0;
		*result = native_futex(t, a);
		if (*result == -4)
			return 0; /* the Sentry knows whether a signal is due */
		return 1;
	}
	}
	return 0;
}

static u32 take(struct slot *s, u32 at, u64 addr, u64 len)
{
	u32 i = s->nin;
	if (i >= MAX_IN || !addr || addr >= STUB_BASE || len > FDS_AT - at || addr + len > STUB_BASE)
		return at;
	if (len && stub_copy((u8 *)s + SLOT_DATA + at, (void *)addr, len))
		return at;
	s->in[i].addr = addr;
	s->in[i].off = at;
	s->in[i].len = len;
	s->nin = i + 1;
	return at + (len + 15 & ~15u);
}

static u32 take_string(struct slot *s, u32 at, u64 addr)
{
	u32 i = s->nin;
	u64 max = 4096;
	if (i >= MAX_IN || !addr || addr >= STUB_BASE || FDS_AT - at < max)
		return at;
	if (max > STUB_BASE - addr)
		max = STUB_BASE - addr;
	s64 n = stub_string((u8 *)s + SLOT_DATA + at, (void *)addr, max);
	if (n < 0)
		return at;
	s->in[i].addr = addr;
	s->in[i].off = at;
	s->in[i].len = n;
	s->nin = i + 1;
	return at + (n + 15 & ~15u);
}

#define WRITE_MAX 16384ul

/* take_parts sends along the first parts of a gathering write, whose struct
 * iovec[n] was taken last. */
static u32 take_parts(struct slot *s, u32 at, u64 n)
{
	if (!s->nin)
		return at;
	u64 *iov = (u64 *)((u8 *)s + SLOT_DATA + s->in[s->nin - 1].off), left = WRITE_MAX;
	for (u64 i = 0; i < n && s->nin < MAX_IN; i++) {
		u64 addr = iov[2 * i], len = iov[2 * i + 1];
		if (len > left)
			break;
		left -= len;
		if (len)
			at = take(s, at, addr, len);
	}
	return at;
}

/* precopy sends along the small inputs of frequent calls: a cache of the
 * guest's memory for the Sentry, which asks for what is not there. */
void precopy(struct slot *s, u64 nr, u64 *a)
{
	u32 at = 0;
	s->nin = 0;
	switch (nr) {
	case 1: case 18: /* write pwrite64 */
	case 44: /* sendto */
		if (a[2] <= WRITE_MAX)
			at = take(s, at, a[1], a[2]);
		if (nr == 44 && a[5] <= 128)
			take(s, at, a[4], a[5]);
		return;
	case 2: case 4: case 6: case 21: case 76: case 80: case 83: case 84: case 85: case 87: case 89: case 90: case 92: case 94:
	case 133: case 137: case 161: case 191: case 192: case 132: case 235:
		take_string(s, at, a[0]);
		return;
	case 82: case 86: case 88: /* rename link symlink */
		at = take_string(s, at, a[0]);
		take_string(s, at, a[1]);
		return;
	case 257: case 258: case 259: case 260: case 261: case 262: case 263: case 267: case 268: case 269: case 280: case 332: case 439: case 437: case 254:
		at = take_string(s, at, a[1]);
		if (nr == 437 && a[3] <= 64)
			take(s, at, a[2], a[3]);
		return;
	case 266: /* symlinkat */
		at = take_string(s, at, a[0]);
		take_string(s, at, a[2]);
		return;
	case 264: case 265: case 316: /* renameat linkat renameat2 */
		at = take_string(s, at, a[1]);
		take_string(s, at, a[3]);
		return;
	case 7: /* poll */
		if (a[1] <= 64)
			take(s, at, a[0], a[1] * 8);
		return;
	case 271: /* ppoll */
		if (a[1] <= 64)
			at = take(s, at, a[0], a[1] * 8);
		at = take(s, at, a[2], 16);
		take(s, at, a[3], 8);
		return;
	case 23: case 270: /* select pselect6 */
		if (a[0] <= 1024) {
			u64 n = (a[0] + 63) / 64 * 8;
			at = take(s, at, a[1], n);
			at = take(s, at, a[2], n);
			at = take(s, at, a[3], n);
		}
		take(s, at, a[4], 16);
		return;
	case 435: /* clone3 */
		if (a[1] <= 128)
			take(s, at, a[0], a[1]);
		return;
	case 13: /* rt_sigaction */
		take(s, at, a[1], 32);
		return;
	case 14: /* rt_sigprocmask */
		take(s, at, a[1], 8);
		return;
	case 19: case 295: /* readv preadv */
		if (a[2] <= 64)
			take(s, at, a[1], a[2] * 16);
		return;
	case 20: case 296: /* writev pwritev */
		if (a[2] <= 64) {
			at = take(s, at, a[1], a[2] * 16);
			take_parts(s, at, a[2]);
		}
		return;
	case 35:
		take(s, at, a[0], 16);
		return;
	case 230:
		take(s, at, a[2], 16);
		return;
	case 42: case 49: /* connect bind */
		if (a[2] <= 128)
			take(s, at, a[1], a[2]);
		return;
	case 46: case 47: /* sendmsg recvmsg */
		take(s, at, a[1], 56);
		return;
	case 233: /* epoll_ctl */
		take(s, at, a[3], 12);
		return;
	case 302: /* prlimit64 */
		take(s, at, a[2], 16);
		return;
	}
}
