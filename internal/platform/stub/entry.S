/* entry.S: the doors of the stub.
 *
 * fast_entry: from a trampoline. In: rax the call's number, rdi rsi rdx r10 r8
 *   r9 its arguments, rcx where to return, GS the thread. The guest's stack,
 *   its red zone too, is not touched. Out: as after a syscall instruction: all
 *   registers as they were but rax, rcx, r11.
 * sig_entry: the handler of every host signal, on the thread's own stack.
 *   In: rdi signal, rsi siginfo, rdx ucontext.
 * exit_check .. exit_end: between the last look at `kicked` and the guest. A
 *   kick that lands in here is moved to exit_trap by the handler.
 */
#include "asm_layout.h"

	.section .text.entry, "ax"
	.globl _start
_start:
	xorl %ebp, %ebp
	movq %rsp, %rdi
	movq $PRIV_BASE_A + PRIV_SIZE_A, %rsp
	/* the private areas are not mapped yet: map them with the first stack */
	movq %rdi, %rbx
	movl $9, %eax
	movq $PRIV_BASE_A, %rdi
	movq $PRIV_SIZE_A * MAX_SLOTS_A, %rsi
	movl $3, %edx
	movl $0x4032, %r10d          /* PRIVATE|ANONYMOUS|FIXED|NORESERVE */
	movq $-1, %r8
	xorl %r9d, %r9d
	syscall
	andq $-16, %rsp
	movq %rbx, %rdi
	call zygote_main
	hlt

	.globl fast_entry
	.p2align 6
fast_entry:
	movq %rsp, %gs:T_SAVED_RSP
	movq %rcx, %gs:T_SAVED_RIP
	movq %gs:T_STACK_TOP, %rsp
	pushq %r9
	pushq %r8
	pushq %r10
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %rax
	movq %gs:T_SELF, %rdi
	movq %rsp, %rsi
	call stub_fast               /* rax: the result; edx: trap wanted */
	addq $8, %rsp
	movl %edx, %ecx
	popq %rdi
	popq %rsi
	popq %rdx
	popq %r10
	popq %r8
	popq %r9
	testl %ecx, %ecx
	movq %gs:T_SAVED_RIP, %rcx
	jne exit_trap
	.globl exit_check
exit_check:
	cmpl $0, %gs:T_KICKED
	jne exit_trap
	movq %gs:T_SAVED_RSP, %rsp
	jmpq *%gs:T_SAVED_RIP
	.globl exit_end
exit_end:
	.globl exit_trap
exit_trap:
	movq %gs:T_SAVED_RSP, %rsp
	.globl trap_insn
trap_insn:
	ud2

	.globl sig_entry
	.p2align 6
sig_entry:
	movq %rsp, %r12
	andq $-PRIV_SIZE_A, %r12     /* the thread, by the stack's own address */
	movq %rdx, %rbx
	movq %r12, %rcx
	call stub_signal             /* (sig, info, uc, thread): 0 leave, 1 look for kicks */
	testl %eax, %eax
	je sig_leave
	.globl sig_check
sig_check:                           /* rbx: ucontext, r12: thread */
	cmpl $0, T_KICKED(%r12)
	jne sig_kicked
sig_leave:
	movq %rbx, %rsp
	movl $15, %eax
	syscall
	.globl sig_end
sig_end:
	hlt
	.globl sig_kicked
sig_kicked:
	movq %rbx, %rdi
	movq %r12, %rsi
	movq %rbx, %rsp
	subq $128, %rsp
	andq $-16, %rsp
	call stub_kicked             /* (uc, thread) */
	jmp sig_check

/* sig_return(uc, thread): leave through the frame of uc. */
	.globl sig_return
sig_return:
	movq %rdi, %rbx
	movq %rsi, %r12
	movq %rbx, %rsp
	subq $128, %rsp
	andq $-16, %rsp
	jmp sig_check

	.globl sig_restorer
sig_restorer:
	movl $15, %eax
	syscall
	hlt

/* u64 stub_copy(dst, src, n): bytes not copied. A fault at copy_insn goes on
 * at copy_fault with rcx as the rest. */
	.globl stub_copy
stub_copy:
	movq %rdx, %rcx
	.globl copy_insn
copy_insn:
	rep movsb
	.globl copy_fault
copy_fault:
	movq %rcx, %rax
	ret

/* s64 stub_string(dst, src, max): the length with its NUL, or -1: a fault or
 * no NUL in max bytes. */
	.globl stub_string
stub_string:
	xorl %eax, %eax
	.globl string_begin
string_begin:
1:	cmpq %rdx, %rax
	jae string_fault
	movb (%rsi,%rax), %cl
	movb %cl, (%rdi,%rax)
	incq %rax
	testb %cl, %cl
	jne 1b
	.globl string_end
string_end:
	ret
	.globl string_fault
string_fault:
	movq $-1, %rax
	ret

/* s64 stub_cmpxchg64(p, old, new): 0 done, 1 differs, -14 fault. */
	.globl stub_cmpxchg64
stub_cmpxchg64:
	movq %rsi, %rax
	.globl cas_insn
cas_insn:
	lock cmpxchgq %rdx, (%rdi)
	jne 2f
	xorl %eax, %eax
	ret
2:	movl $1, %eax
	ret
	.globl cas_fault
cas_fault:
	movq $-14, %rax
	ret

/* s64 stub_store32 / stub_cas32(p, old, new): as above for 32 bits. */
	.globl stub_cas32
stub_cas32:
	movl %esi, %eax
	.globl cas32_insn
cas32_insn:
	lock cmpxchgl %edx, (%rdi)
	jne 2b
	xorl %eax, %eax
	ret

/* s64 guest_futex(uaddr, op, val, timeout, uaddr2, val3, thread*): a native
 * futex call of the guest's that a kick cuts short with -EINTR (-4). */
	.globl guest_futex
guest_futex:
	movq %rcx, %r10
	movq 8(%rsp), %r11
	movl $202, %eax
	.globl futex_begin
futex_begin:
	cmpl $0, T_KICKED(%r11)
	jne futex_abort
	syscall
	.globl futex_end
futex_end:
	ret
	.globl futex_abort
futex_abort:
	movq $-4, %rax
	ret

/* s64 sys6(nr, a..f) */
	.globl sys6
sys6:
	movq %rdi, %rax
	movq %rsi, %rdi
	movq %rdx, %rsi
	movq %rcx, %rdx
	movq %r8, %r10
	movq %r9, %r8
	movq 8(%rsp), %r9
	syscall
	ret

/* s64 clone_thread(flags, stack, ptid, ctid, fn, arg): like sys_clone; the
 * child calls fn(arg) on stack. */
	.globl clone_thread
clone_thread:
	movq %rcx, %r10
	movq %r9, -16(%rsi)
	movq %r8, -8(%rsi)
	subq $16, %rsi
	movl $56, %eax
	xorl %r8d, %r8d
	syscall
	testq %rax, %rax
	je 3f
	ret
3:	popq %rdi
	popq %rax
	andq $-16, %rsp
	xorl %ebp, %ebp
	call *%rax
	hlt

/* start_guest(rip, rsp): the first step of a program; every register zero. */
	.globl start_guest
start_guest:
	movq %rdi, %gs:T_SAVED_RIP
	movq %rsi, %gs:T_SAVED_RSP
	xorl %eax, %eax
	xorl %ebx, %ebx
	xorl %ecx, %ecx
	xorl %edx, %edx
	xorl %esi, %esi
	xorl %edi, %edi
	xorl %ebp, %ebp
	xorl %r8d, %r8d
	xorl %r9d, %r9d
	xorl %r10d, %r10d
	xorl %r11d, %r11d
	xorl %r12d, %r12d
	xorl %r13d, %r13d
	xorl %r14d, %r14d
	xorl %r15d, %r15d
	jmp exit_check
	.section .note.GNU-stack,"",@progbits
