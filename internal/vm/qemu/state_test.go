package qemu

import "testing"

func TestCPUStates(t *testing.T) {
	const text = "\r\nCPU#0\r\nRAX=0000000000000000 RBX=0000000000000000\r\n" +
		"RIP=ffffffff81c0b9a1 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\nES =0000\r\n\r\n" +
		"CPU#1\r\nRIP=00000000004011aa RFL=00000246 [---Z-P-] CPL=3 II=0 A20=1 SMM=0 HLT=0\r\n" +
		"CPU#2\r\nEIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0 A20=1 SMM=0 HLT=1\r\n"
	if got, want := cpuStates(text), ", CPU 0 waits at ffffffff81c0b9a1, CPU 1 runs at 00000000004011aa, CPU 2 waits at 0000fff0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := cpuStates("nothing of the kind"); got != "" {
		t.Errorf("%q", got)
	}
}
