#include "textflag.h"

// The ways into a kernel. All take the number and six arguments; what follows
// a system call that makes a process ends that process at once, in registers
// alone, for a child of vfork shares this stack.
//
//	rax number → result    rdi rsi rdx r10 r8 r9 arguments    rcx r11 lost

#define LOAD \
	MOVQ nr+0(FP), AX \
	MOVQ args+8(FP), R12 \
	MOVQ 0(R12), DI \
	MOVQ 8(R12), SI \
	MOVQ 16(R12), DX \
	MOVQ 24(R12), R10 \
	MOVQ 32(R12), R8 \
	MOVQ 40(R12), R9

// func call(nr uintptr, args *[6]uintptr) uintptr
TEXT ·call(SB), NOSPLIT, $0-24
	LOAD
	SYSCALL
	MOVQ AX, ret+16(FP)
	RET

// func callFork(nr uintptr, args *[6]uintptr) uintptr
TEXT ·callFork(SB), NOSPLIT, $0-24
	LOAD
	SYSCALL
	TESTQ AX, AX
	JNZ parent
	XORL DI, DI
	MOVL $60, AX	// exit
	SYSCALL
	HLT
parent:
	MOVQ AX, ret+16(FP)
	RET

// func call32(nr uintptr, args *[6]uintptr) uintptr
// int 0x80: eax number, ebx ecx edx esi edi arguments; the sixth, ebp, stays
// as it is. fork and vfork of i386 return to the code below in the child.
TEXT ·call32(SB), NOSPLIT, $0-24
	MOVQ nr+0(FP), AX
	MOVQ AX, R13
	MOVQ args+8(FP), R12
	MOVQ 0(R12), BX
	MOVQ 8(R12), CX
	MOVQ 16(R12), DX
	MOVQ 24(R12), SI
	MOVQ 32(R12), DI
	INT $0x80
	TESTL AX, AX
	JNZ parent
	CMPQ R13, $2	// fork
	JEQ child
	CMPQ R13, $190	// vfork
	JNE parent
child:
	XORL BX, BX
	MOVL $1, AX	// exit
	INT $0x80
	HLT
parent:
	MOVL AX, AX
	MOVQ AX, ret+16(FP)
	RET

// func callStub(at, nr uintptr, args *[6]uintptr) uintptr
// The C function sys6(nr, a, b, c, d, e, f) at an address.
TEXT ·callStub(SB), NOSPLIT, $32-32
	MOVQ at+0(FP), R13
	MOVQ args+16(FP), R12
	MOVQ nr+8(FP), DI
	MOVQ 0(R12), SI
	MOVQ 8(R12), DX
	MOVQ 16(R12), CX
	MOVQ 24(R12), R8
	MOVQ 32(R12), R9
	MOVQ 40(R12), R10
	MOVQ R10, 0(SP)
	CALL R13
	MOVQ AX, ret+24(FP)
	RET
