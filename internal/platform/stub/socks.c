/* socks.c: small reads and writes of sockets that were lent, and epoll_ctl(2) of
 * an instance that was. */
#include "stub.h"

static struct socks *socks_of(struct slot *s) { return (struct socks *)((u8 *)s + SLOT_DATA + SOCKS_AT); }

/* box_of gives the box that descriptor fd has, or 0. */
static struct box *box_of(struct slot *s, u32 fd, u32 *n)
{
	if (!ONCE(s->boxes) || fd >= BOX_FDS)
		return 0;
	struct socks *k = socks_of(s);
	*n = ONCE(k->box[fd]) - 1u;
	if (*n >= BOXES || ONCE(k->boxes[*n].loan) != fd + 1)
		return 0;
	return &k->boxes[*n];
}

/* box_write is a small write(2) to a socket whose room was lent. As in post_write,
 * one that comes too late is withdrawn, unless it was taken already. */
int box_write(struct slot *s, u64 *a, s64 *result)
{
	u32 i, fd = a[0], n = a[2], turn = TURN_GUEST;
	struct box *b = box_of(s, fd, &i);
	if (!b || a[2] - 1 >= BOX_MAX || ONCE(b->posted) || a[1] > STUB_BASE - BOX_MAX)
		return 0;
	if (stub_copy(b->out, (void *)a[1], n))
		return 0;
	*result = n;
	__atomic_exchange_n(&b->posted, n, __ATOMIC_SEQ_CST);
	if (ONCE(b->loan) != fd + 1)
		return !__atomic_compare_exchange_n(&b->posted, &n, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	__atomic_fetch_or(&s->box_bits, 1u << i, __ATOMIC_SEQ_CST);
	__atomic_compare_exchange_n(&s->turn, &turn, TURN_POSTED, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	if (ONCE(s->sentry_sleeps) && !ONCE(s->lazy))
		sys6(NR_futex, (u64)&s->turn, 10 /* WAKE_BITSET */, 1, 0, 0, 2);
	return 1;
}

/* box_read is a read(2) of all that the Sentry told there is. Whoever adds to that,
 * or takes it, clears note first: then the bytes were not read here. */
int box_read(struct slot *s, u64 *a, s64 *result)
{
	u32 i, n;
	struct box *b = box_of(s, a[0], &i);
	if (!b || !(n = ONCE(b->note)) || n > BOX_MAX || a[2] < n || a[1] > STUB_BASE - BOX_MAX)
		return 0;
	if (stub_copy((void *)a[1], b->in, n))
		return 0;
	*result = n;
	return __atomic_compare_exchange_n(&b->note, &n, n | NOTE_TAKEN, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

/* post_ctl is epoll_ctl(2) of a descriptor of which it is known here whether the
 * instance has it. The Sentry does it when the instance is next looked at. */
int post_ctl(struct slot *s, u64 *a, s64 *result)
{
	struct socks *k = socks_of(s);
	u32 ep = ONCE(s->ctl_lent), op = a[1], fd = a[2], ev[3] = { 0, 0, 0 };
	if (!ep || (u32)a[0] + 1 != ep || fd >= BOX_FDS || op - 1 > 2)
		return 0;
	if (ONCE(k->ctl[fd]) != (op == 1 /* EPOLL_CTL_ADD */ ? CTL_OUT : CTL_IN))
		return 0;
	if (op != 2 /* EPOLL_CTL_DEL */ && (a[3] > STUB_BASE - 12 || stub_copy(ev, (void *)a[3], 12) || ev[0] & 0x30000000 /* EXCLUSIVE WAKEUP */))
		return 0;
	u32 head = ONCE(k->ctl_head), word = (fd + 1) | op << 16;
	struct ctl *c = &k->ops[head % CTL_OPS];
	if (head - ONCE(k->ctl_tail) >= CTL_OPS)
		return 0;
	*result = 0;
	ONCE(c->events) = ev[0];
	ONCE(c->data) = (u64)ev[2] << 32 | ev[1];
	ONCE(c->word) = word;
	__atomic_exchange_n(&k->ctl_head, head + 1, __ATOMIC_SEQ_CST);
	if (ONCE(s->ctl_lent) != ep)
		return !__atomic_compare_exchange_n(&c->word, &word, 0, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	ONCE(k->ctl[fd]) = op == 2 ? CTL_OUT : CTL_IN;
	return 1;
}
