#include "textflag.h"

// func rdtsc() uint64
// RDTSC leaves the low half in AX and the high half in DX.
TEXT ·rdtsc(SB), NOSPLIT, $0-8
	RDTSC
	SHLQ $32, DX
	ORQ  DX, AX
	MOVQ AX, ret+0(FP)
	RET
