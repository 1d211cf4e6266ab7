/* frame.c: the guest's signal frames, as the kernel lays them out
 * (arch/x86/kernel/signal_64.c): pretcode, ucontext, siginfo, and above them
 * the extended FPU state, 64-byte aligned. */
#include "stub.h"

#define XMAGIC1 0x46505853u
#define INFO_OFF 312 /* siginfo in the frame */
#define FRAME_SIZE 440

/* fp_size: the bytes of the host frame's FPU state. */
static u64 fp_size(u8 *fp)
{
	if (!fp)
		return 0;
	u32 *sw = (u32 *)(fp + 464);
	if (sw[0] != XMAGIC1 || sw[1] < 576 || sw[1] > 0x4000)
		return 512;
	return sw[1];
}

/* fp_reset gives the state of a fresh program. */
static void fp_reset(u8 *fp)
{
	if (!fp)
		return;
	*(u32 *)fp = 0x37f;
	*(u32 *)(fp + 24) = 0x1f80;
	if (fp_size(fp) > 512)
		*(u64 *)(fp + 512) = 0;
}

/* frame_reset makes the frame a fresh program's. */
void frame_reset(struct ucontext *uc)
{
	u64 *r = (u64 *)&uc->r;
	for (int i = 0; i < 17; i++) /* up to rip */
		r[i] = 0;
	uc->r.eflags = 0x202;
	fp_reset(uc->fpstate);
}

/* copy_frame puts a copy of uc and its FPU state below top. */
struct ucontext *copy_frame(struct ucontext *uc, u64 top)
{
	u64 n = fp_size(uc->fpstate);
	u8 *fp = (u8 *)(top - n & -64ul);
	struct ucontext *c = (struct ucontext *)((u64)fp - 512 & -64ul);
	copy8((u64 *)c, (u64 *)uc, sizeof *uc / 8);
	if (n) {
		copy8((u64 *)fp, (u64 *)uc->fpstate, n / 8);
		if (n & 4)
			*(u32 *)(fp + n - 4) = *(u32 *)(uc->fpstate + n - 4);
		c->fpstate = fp;
	}
	return c;
}

/* deliver builds a frame for a handler on the guest's stack.
 * a[0] handler, a[1] restorer, a[2] top of the alternate stack or 0,
 * a[3] signal, a[4] offset of {siginfo 128, mask 8, ss_sp 8, ss_flags 8,
 * ss_size 8} in the slot's data, a[5] what the frame must lie above: the
 * alternate stack's begin, or 0. */
s64 deliver(struct thread *t, struct ucontext *uc, struct op *op)
{
	struct { u64 pretcode; struct ucontext uc; u64 info[16]; } f;
	u64 *d = (u64 *)((u8 *)t->slot + SLOT_DATA + ONCE(op->a[4]));
	u64 sp = ONCE(op->a[2]);
	if (!sp)
		sp = uc->r.rsp - 128;
	u64 n = fp_size(uc->fpstate);
	u64 fp = sp - n & -64ul;
	u64 at = (fp - FRAME_SIZE & -16ul) - 8;
	if (sp > STUB_BASE || at > STUB_BASE || at <= ONCE(op->a[5]))
		return -14;
	f.pretcode = op->a[1];
	copy8((u64 *)&f.uc, (u64 *)uc, sizeof *uc / 8);
	copy8(f.info, d, 16);
	f.uc.sigmask = d[16];
	f.uc.ss_sp = d[17];
	f.uc.ss_flags = d[18];
	f.uc.ss_size = d[19];
	f.uc.fpstate = n ? (u8 *)fp : 0;
	if (stub_copy((void *)at, &f, FRAME_SIZE) || (n && stub_copy((void *)fp, uc->fpstate, n)))
		return -14;
	uc->r.rdi = op->a[3];
	uc->r.rsi = at + INFO_OFF;
	uc->r.rdx = at + 8;
	uc->r.rax = 0;
	uc->r.rsp = at;
	uc->r.rip = op->a[0];
	uc->r.eflags &= ~0x10500ul; /* RF DF TF */
	fp_reset(uc->fpstate);
	return 0;
}

static int fp_restore(u8 *host, u8 *guest)
{
	u64 n = fp_size(host);
	u32 sw[2];
	if (!n)
		return 0;
	if (!guest) {
		fp_reset(host);
		return 0;
	}
	if ((u64)guest > STUB_BASE - n || stub_copy(host, guest, 464) || stub_copy(sw, guest + 464, 8))
		return -1;
	*(u32 *)(host + 24) &= 0xffff;
	if (n <= 512)
		return 0;
	u64 *x = (u64 *)(host + 512), have = *(u64 *)(host + 472);
	if (sw[0] != XMAGIC1 || sw[1] != n) {
		x[0] = 3; /* x87 and SSE alone */
		for (int i = 1; i < 8; i++)
			x[i] = 0;
		return 0;
	}
	if (stub_copy(x, guest + 512, n - 4 - 512))
		return -1;
	x[0] &= have;
	for (int i = 1; i < 8; i++)
		x[i] = 0;
	return 0;
}

/* guest_sigreturn loads the registers of the guest's frame at its stack
 * pointer into uc, and gives where the frame's ucontext is, in rsp's place. The
 * mask and stack that the Sentry must know are left in uc's own fields. */
s64 guest_sigreturn(struct ucontext *uc)
{
	struct ucontext g;
	u64 at = uc->r.rsp;
	if (at > STUB_BASE - sizeof g || stub_copy(&g, (void *)at, sizeof g))
		return -14;
	if (fp_restore(uc->fpstate, g.fpstate))
		return -14;
	u64 segs = uc->r.segs, flags = uc->r.eflags;
	copy8((u64 *)&uc->r, (u64 *)&g.r, 17);
	uc->r.segs = segs;
	/* CF PF AF ZF SF TF DF OF RF AC are the guest's */
	uc->r.eflags = (flags & ~0x50dd5ul) | (g.r.eflags & 0x50dd5ul);
	uc->link = g.sigmask; /* link is unused by the host's sigreturn */
	uc->reserved[0] = g.ss_sp;
	uc->reserved[1] = g.ss_flags;
	uc->reserved[2] = g.ss_size;
	return 0;
}
