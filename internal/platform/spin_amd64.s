#include "textflag.h"

// func spinTurn(turn *uint32, ticks int64, gap int64) int32
//
// Spins until *turn is odd (1), ticks of the time-stamp counter have passed
// (0), or the counter jumped by more than gap between two looks (2): then this
// CPU was taken away, so it is not idle.
//
//	DI turn  R8 end  R9 last look  R10 gap
TEXT ·spinTurn(SB), NOSPLIT, $0-28
	MOVQ turn+0(FP), DI
	MOVQ gap+16(FP), R10
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, R9
	MOVQ AX, R8
	ADDQ ticks+8(FP), R8
look:
	MOVL $16, CX
inner:
	TESTL $1, (DI)
	JNE  found
	PAUSE
	DECL CX
	JNE  inner
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, DX
	SUBQ R9, DX
	MOVQ AX, R9
	CMPQ DX, R10
	JHI  jumped
	CMPQ AX, R8
	JLT  look
	MOVL $0, ret+24(FP)
	RET
found:
	MOVL $1, ret+24(FP)
	RET
jumped:
	MOVL $2, ret+24(FP)
	RET

// func rdtsc() int64
TEXT ·rdtsc(SB), NOSPLIT, $0-8
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+0(FP)
	RET

// func currentCPU() int64
//
// RDTSCP gives IA32_TSC_AUX in CX: the kernel keeps the CPU in its low 12 bits.
TEXT ·currentCPU(SB), NOSPLIT, $0-8
	RDTSCP
	ANDQ $0xfff, CX
	MOVQ CX, ret+0(FP)
	RET
