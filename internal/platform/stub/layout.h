/* layout.h: what the stub and the Sentry share. internal/platform/layout.go
 * has the same numbers; a test compares them with the table in stub.c.
 *
 * Address map of a guest process above the guest's own part:
 *
 *   STUB_BASE   text and constants of the stub (r-x); system calls made with
 *               their instruction pointer in here pass the filter
 *   VDSO_BASE   the host's vvar and vdso, moved here before the filter
 *   PRIV_BASE   one private area per thread: struct thread, then its stack
 *   SLOT_BASE   one slot per thread, shared with the Sentry (a memfd)
 */
#ifndef LAYOUT_H
#define LAYOUT_H

typedef unsigned char u8;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long u64;
typedef long s64;

#define STUB_BASE 0x7ff000000000ul
#define STUB_TEXT_SIZE 0x10000ul
#define VDSO_BASE 0x7ff000100000ul
#define PRIV_BASE 0x7ff010000000ul
#define PRIV_SIZE 0x10000ul
#define SLOT_BASE 0x7ff100000000ul
#define SLOT_SIZE 0x20000ul
#define MAX_SLOTS 4096ul
#define SLOT_DATA 0x1000ul
#define IN_MAX 0x8000ul /* the guest's bytes; the Sentry's follow */
#define FDS_AT 0x7c00ul  /* the last of them: struct fds */
#define POST_AT 0x7e00ul /* and an accepted write's */
#define POST_MAX 0x200ul
#define SOCKS_AT 0x18000ul /* behind the Sentry's: struct socks */
#define NOTE_AT 0x1c000ul /* the last: struct note */

/* Whose turn a slot is; an odd one wants the Sentry's attention. Both sides
 * sleep on this word: the guest with futex bitset 1, the Sentry with bitset 2. */
#define TURN_GUEST 0
#define TURN_REQUEST 1
#define TURN_REPLY 2
#define TURN_KICK 3
#define TURN_POSTED 5 /* the guest's still; it has left something in posted */

/* Kinds of requests. */
#define K_SYSCALL 1   /* through SIGSYS: a frame is there */
#define K_FAST 2      /* through a patched site: no frame */
#define K_FAULT 3     /* SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP of the guest */
#define K_INTERRUPT 4 /* the Sentry's kick came while guest code ran */
#define K_DONE 5      /* the reply's operations were carried out */
#define K_OPFAIL 6    /* operation failed_op failed with op_errno; the rest was not done */
#define K_READY 7     /* the zygote waits for its first reply */

/* Flags of a reply. */
#define R_FINAL 1 /* go back to the guest with rax; else post K_DONE and wait */
#define R_TRAP 2  /* K_FAST: get a frame first, then post K_INTERRUPT */
#define R_KEEPRAX 4 /* leave the frame's rax alone (start, deliver, sigreturn) */
#define R_RETRY 8 /* the stub carries out this call of the host's: futex again, FS base, rseq */

#define OP_COPYOUT 1
#define OP_MMAP 2
#define OP_MUNMAP 3
#define OP_MPROTECT 4
#define OP_MREMAP 5
#define OP_MADVISE 6
#define OP_RECVFD 7
#define OP_CLOSEFD 8
#define OP_FORK 9
#define OP_CLONE 10
#define OP_START 11
#define OP_DELIVER 12
#define OP_RESTART 13
#define OP_PATCH 14
#define OP_EXIT 15
#define OP_SECCOMP 16
#define OP_SETFS 17
#define OP_ROBUST 18
#define OP_SETSP 19
#define OP_POKE 20
#define OP_EMPTY 21

struct op {
	u32 code, flags;
	u64 a[7];
};

#define MAX_OPS 54

struct in {
	u64 addr;
	u32 off, len; /* off from the slot's data */
};

#define MAX_IN 4

/* What the stub knows of the first descriptors, and what it has done to them
 * that the Sentry's table has not: an operation is FD_CLOSE or FD_DUP, then a byte
 * each for the descriptor, the new one, and whether that is close-on-exec. */
#define FDS 64
#define FD_OPS 16
#define FD_FREE 1
#define FD_QUIET 2 /* open; it may be closed and duplicated here */
#define FD_BUSY 4  /* open */
#define FD_CLOEXEC 8
#define FD_FLAGS 16 /* flags is what F_GETFL tells */
#define FD_CLOSE 1
#define FD_DUP 2
#define FD_READ 3 /* the whole of a directory, from the note */

struct fds {
	u8 state[FDS];
	u32 ops[FD_OPS];
	u32 flags[FDS];
	u32 at_end; /* a directory's descriptor + 1: the next read of it gives nothing */
};

/* What the Sentry tells of a file with the reply that has opened it, for the calls
 * that mostly follow. It counts while the slot's note is the descriptor + 1: until the
 * thread's next event, or until somebody changes a file. */
#define NOTE_NAME 96
#define NOTE_DENTS 0x2f00

struct note {
	s32 dir;      /* it was opened from here, by name; -1: do not tell by name */
	u32 name_len; /* with its NUL */
	u32 dents_len; /* 0: not told */
	u32 pad;
	u8 stat[144];
	u8 name[NOTE_NAME];
	u8 dents[NOTE_DENTS]; /* all entries of a directory */
};

/* Sockets that were lent to this thread have a box each: a small write is left in
 * out, and what the Sentry knows can be read lies in in. posted and note are
 * lengths, 0 for nothing; note gets NOTE_TAKEN when the guest has read it. */
#define BOX_FDS 128
#define BOXES 24
#define BOX_MAX 256
#define NOTE_TAKEN 0x10000

struct box {
	u32 loan; /* the descriptor + 1; by the Sentry, which ends the loan by clearing it */
	u32 posted;
	u32 note;
	u32 pad;
	u8 out[BOX_MAX];
	u8 in[BOX_MAX];
};

/* An operation of epoll_ctl(2) that was done in an instance's name: word is the
 * descriptor + 1 and, from bit 16, EPOLL_CTL_*; 0 if it was withdrawn or taken. */
#define CTL_OPS 64
#define CTL_OUT 1 /* the descriptor could be added */
#define CTL_IN 2  /* the instance has it */

struct ctl {
	u32 word, events;
	u64 data;
};

struct socks {
	u8 box[BOX_FDS]; /* which box a descriptor has, + 1 */
	u8 ctl[BOX_FDS]; /* CTL_*; 0: ask the Sentry */
	u32 ctl_head, ctl_tail, pad[2];
	struct ctl ops[CTL_OPS];
	struct box boxes[BOXES];
};

struct slot {
	u32 turn;
	u32 pad0[15];
	u32 sentry_sleeps; /* Sentry: sleeps on turn */
	u32 pad1[15];
	u32 guest_sleeps; /* stub: sleeps on turn */
	u32 done_seq;     /* the last reply whose operations are done */
	u32 host_tid;     /* by the kernel: CLONE_CHILD_SETTID and CLEARTID */
	u32 fd_tail;      /* by the Sentry: what of it the table has done too */
	u64 mask;   /* the guest's blocked signals, while maskable was set */
	u64 robust; /* the guest's robust list */
	u32 loan;   /* a descriptor + 1: the stub accepts small writes to it; by the Sentry */
	u32 posted; /* how much it has accepted, in the slot's data at POST_AT; 0: taken */
	u64 drop_lo, drop_hi; /* private memory whose pages the stub may drop; by the Sentry */
	u32 fd_lent; /* the stub closes and duplicates descriptors; by the Sentry */
	u32 fd_head; /* what it has done, of fd_ops */
	/* 0xc0: set by the Sentry, read by the stub */
	u64 spin_tsc; /* how long to spin for a reply */
	u32 yields;   /* how often to yield before sleeping */
	u32 answers;  /* the ids below are valid */
	u32 pid, tid, ppid, uid, euid, gid, egid;
	u32 parked; /* the call blocks: do not yield for the answer */
	u32 maskable; /* the stub may change mask: no signal waits */
	u32 note; /* a descriptor + 1 that struct note tells of; by the Sentry, cleared here */
	u64 gettime; /* the vdso's clock_gettime, or 0 */
	/* 0x100: the request */
	u32 kind, nr;
	u64 arg[6];
	u64 ip, sp;
	u32 sig;
	s32 code;
	u64 addr, trapno, err;
	u64 result;
	u32 failed_op;
	s32 op_errno;
	u64 tsc;
	u32 nin, cpu;
	struct in in[MAX_IN];
	u64 pad5[5];
	u32 boxes;    /* some socket was lent once; by the Sentry */
	u32 box_bits; /* in which boxes something was posted */
	u32 ctl_lent; /* an epoll's descriptor + 1: epoll_ctl is done here; by the Sentry */
	u32 lazy;     /* the Sentry looks at what is posted soon, by itself */
	/* 0x200: the reply */
	u32 seq, nops;
	u64 rax;
	u32 rflags;
	u32 pad6[11];
	/* 0x240 */
	struct op op[MAX_OPS];
};

/* One per thread, at the start of its private area; GS points here. */
struct thread {
	u64 self;
	u64 stack_top;
	u64 saved_rsp;
	u64 saved_rip;
	u32 kicked;
	u32 intr; /* a native call of the guest's was cut short by a kick */
	struct slot *slot;
	s32 sock; /* descriptors for mappings come here */
	s32 fd[2];
	u32 tls_set;
	u64 tls;
	u64 rip_start, rsp_start;
	u32 slow; /* calls answered here though they came through SIGSYS */
	u32 rseq_len, rseq_sig;
	u64 rseq; /* the area that the host's kernel knows, or 0 */
};
#define T_SELF 0
#define T_STACK_TOP 8
#define T_SAVED_RSP 16
#define T_SAVED_RIP 24
#define T_KICKED 32

#define SIG_KICK 35 /* a real-time signal of the host's, never the guest's */

#endif
