package platform

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// guestRule is one host call that code inside the stub may make.
type guestRule struct {
	Nr     uint32
	Name   string
	Reason string
	check  func(b *bpf) // nil: any arguments
}

// guestRules are all the host calls in a guest's reach. They pass only from
// inside the stub; a guest that jumps there can do no more than this.
var guestRules = []guestRule{
	{unix.SYS_FUTEX, "futex", "waiting for the Sentry, and the guest's own futexes; no PI operations", func(b *bpf) {
		b.argIn(1, ^uint32(0x180), 0, 1, 3, 4, 5, 9, 10)
	}},
	{unix.SYS_SCHED_YIELD, "sched_yield", "handing the CPU to the Sentry", nil},
	{unix.SYS_RT_SIGRETURN, "rt_sigreturn", "leaving a signal handler", nil},
	{unix.SYS_MMAP, "mmap", "the guest's memory; no huge or locked pages, no growing stacks", func(b *bpf) {
		b.argMask(3, ^uint32(unix.MAP_SHARED|unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE|unix.MAP_POPULATE))
	}},
	{unix.SYS_MUNMAP, "munmap", "the guest's memory", nil},
	{unix.SYS_MPROTECT, "mprotect", "the guest's memory", nil},
	{unix.SYS_MREMAP, "mremap", "the guest's memory", nil},
	{unix.SYS_MADVISE, "madvise", "the guest's memory; no page merging, no poisoning", func(b *bpf) {
		b.argIn(2, ^uint32(0), 0, 1, 2, 3, 4, 8, 9, 10, 11, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23)
	}},
	{unix.SYS_RECVMSG, "recvmsg", "receiving descriptors to map", nil},
	{unix.SYS_CLOSE, "close", "closing them again", nil},
	{unix.SYS_CLONE, "clone", "fork, threads and vfork, with exact flags", func(b *bpf) {
		b.argIn(0, ^uint32(0), flagsFork, flagsThread, flagsVfork)
	}},
	{unix.SYS_EXIT, "exit", "the end of a thread", nil},
	{unix.SYS_RSEQ, "rseq", "the guest's own area, of its own thread: registered and given up, no newer flags", func(b *bpf) {
		b.argIn(2, ^uint32(0), 0, 1)
	}},
	{unix.SYS_PRCTL, "prctl", "PR_SET_PDEATHSIG with SIGKILL alone: a child dies with the Sentry", func(b *bpf) {
		b.load(dataArgs + 8)
		b.unless(uint32(unix.SIGKILL), retKillProcess)
		b.argIn(0, ^uint32(0), unix.PR_SET_PDEATHSIG)
	}},
}

const (
	flagsFork   = unix.CLONE_PARENT | uint32(unix.SIGCHLD)
	flagsThread = unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_THREAD |
		unix.CLONE_SYSVSEM | unix.CLONE_PARENT_SETTID | unix.CLONE_CHILD_CLEARTID
	flagsVfork = unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_PARENT | unix.CLONE_PARENT_SETTID |
		unix.CLONE_CHILD_CLEARTID | uint32(unix.SIGCHLD)
)

// KickSignal calls a guest's thread back to look at what has changed.
const KickSignal = sigKick

// Offsets in struct seccomp_data, and results (seccomp(2)).
const (
	dataNr   = 0
	dataArch = 4
	dataIP   = 8
	dataArgs = 16

	archX8664      = 0xc000003e
	retKillProcess = 0x80000000
	retTrap        = 0x00030000
	retErrno       = 0x00050000
	retAllow       = 0x7fff0000
)

// bpf assembles classic BPF with forward jumps only.
type bpf struct{ insns []unix.SockFilter }

func (b *bpf) emit(code uint16, jt, jf uint8, k uint32) {
	b.insns = append(b.insns, unix.SockFilter{Code: code, Jt: jt, Jf: jf, K: k})
}
func (b *bpf) load(off uint32) { b.emit(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0, 0, off) }
func (b *bpf) ret(k uint32)    { b.emit(unix.BPF_RET|unix.BPF_K, 0, 0, k) }

// unless returns result if the accumulator differs from k.
func (b *bpf) unless(k, result uint32) {
	b.emit(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 1, 0, k)
	b.ret(result)
}

// argIn allows if argument i, masked, is one of values; its high half is not
// looked at (the kernel's prototypes take 32 bits here, but for clone and mmap,
// where high bits are refused).
func (b *bpf) argIn(i int, mask uint32, values ...uint32) {
	b.load(dataArgs + uint32(i)*8 + 4)
	b.unless(0, retKillProcess)
	b.load(dataArgs + uint32(i)*8)
	b.emit(unix.BPF_ALU|unix.BPF_AND|unix.BPF_K, 0, 0, mask)
	for _, v := range values {
		b.emit(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, 1, v)
		b.ret(retAllow)
	}
	b.ret(retKillProcess)
}

// argMask allows if argument i has none of the bits of mask.
func (b *bpf) argMask(i int, mask uint32) {
	b.load(dataArgs + uint32(i)*8 + 4)
	b.unless(0, retKillProcess)
	b.load(dataArgs + uint32(i)*8)
	b.emit(unix.BPF_JMP|unix.BPF_JSET|unix.BPF_K, 1, 0, mask)
	b.ret(retAllow)
	b.ret(retKillProcess)
}

// guestFilter is the program: calls from outside the stub become SIGSYS, calls
// inside it pass by rule, and any other call there ends the process.
func guestFilter() []unix.SockFilter {
	b := &bpf{}
	b.load(dataArch)
	b.unless(archX8664, retTrap)
	b.load(dataIP + 4)
	b.unless(StubBase>>32, retTrap)
	b.load(dataIP)
	b.emit(unix.BPF_JMP|unix.BPF_JGT|unix.BPF_K, 0, 1, StubTextSize)
	b.ret(retTrap)
	for _, r := range guestRules {
		sub := &bpf{}
		if r.check != nil {
			r.check(sub)
		} else {
			sub.ret(retAllow)
		}
		b.load(dataNr)
		b.emit(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, uint8(len(sub.insns)), r.Nr)
		b.insns = append(b.insns, sub.insns...)
	}
	// The kernel's own way of going on with a timed futex wait after the process
	// was stopped, frozen or traced. It does not pass: it answers EINTR, which the
	// stub takes as a kick.
	b.load(dataNr)
	b.emit(unix.BPF_JMP|unix.BPF_JEQ|unix.BPF_K, 0, 1, unix.SYS_RESTART_SYSCALL)
	b.ret(retErrno | uint32(unix.EINTR))
	b.ret(retKillProcess)
	return b.insns
}

// filterBytes is the program as the kernel reads it.
func filterBytes(f []unix.SockFilter) []byte {
	out := make([]byte, 0, 8*len(f))
	for _, i := range f {
		out = binary.LittleEndian.AppendUint16(out, i.Code)
		out = append(out, i.Jt, i.Jf)
		out = binary.LittleEndian.AppendUint32(out, i.K)
	}
	return out
}

// GuestCall is a host call in a guest's reach, for `bulkhead help filters`.
type GuestCall struct {
	Nr      uint32
	Name    string
	Checked bool // its arguments are looked at
	Reason  string
}

// GuestCalls lists all host calls in a guest's reach.
func GuestCalls() []GuestCall {
	var out []GuestCall
	for _, r := range guestRules {
		out = append(out, GuestCall{r.Nr, r.Name, r.check != nil, r.Reason})
	}
	return out
}
