package kernel

import "encoding/binary"

// Values of si_code (sigaction(2)).
const (
	SI_USER    = 0
	SI_KERNEL  = 0x80
	SI_QUEUE   = -1
	SI_TIMER   = -2
	SI_MESGQ   = -3
	SI_ASYNCIO = -4
	SI_SIGIO   = -5
	SI_TKILL   = -6

	CLD_EXITED    = 1
	CLD_KILLED    = 2
	CLD_DUMPED    = 3
	CLD_TRAPPED   = 4
	CLD_STOPPED   = 5
	CLD_CONTINUED = 6

	SYS_SECCOMP       = 1
	SYS_USER_DISPATCH = 2

	SEGV_MAPERR = 1
	SEGV_ACCERR = 2

	POLL_IN  = 1
	POLL_OUT = 2
	POLL_MSG = 3
	POLL_ERR = 4
	POLL_PRI = 5
	POLL_HUP = 6
)

// SigInfo is siginfo_t as x86-64 guests see it:
//
//	0  int si_signo      4  int si_errno      8  int si_code
//	16 kill, queue:  int pid, uint uid, (24) sigval
//	16 SIGCHLD:      int pid, uint uid, int status, (32) long utime, (40) long stime
//	16 timers:       int timerid, int overrun, (24) sigval
//	16 faults:       void *addr, (24) short addr_lsb, (32) pkey …
//	16 SIGPOLL:      long band, (24) int fd
//	16 SIGSYS:       void *call_addr, (24) int syscall, (28) uint arch
type SigInfo [128]byte

func (i *SigInfo) put32(off int, v int32)  { binary.LittleEndian.PutUint32(i[off:], uint32(v)) }
func (i *SigInfo) put64(off int, v uint64) { binary.LittleEndian.PutUint64(i[off:], v) }
func (i *SigInfo) get32(off int) int32     { return int32(binary.LittleEndian.Uint32(i[off:])) }
func (i *SigInfo) get64(off int) uint64    { return binary.LittleEndian.Uint64(i[off:]) }

// The fields that all sources have, and those of most.
func (i *SigInfo) Signo() int32     { return i.get32(0) }
func (i *SigInfo) Code() int32      { return i.get32(8) }
func (i *SigInfo) PID() int32       { return i.get32(16) }
func (i *SigInfo) UID() uint32      { return uint32(i.get32(20)) }
func (i *SigInfo) Status() int32    { return i.get32(24) }
func (i *SigInfo) Value() uint64    { return i.get64(24) }
func (i *SigInfo) Addr() uint64     { return i.get64(16) }
func (i *SigInfo) SetCode(c int32)  { i.put32(8, c) }
func (i *SigInfo) SetSigno(s int32) { i.put32(0, s) }

func baseInfo(sig, code int32) (i SigInfo) {
	i.put32(0, sig)
	i.put32(8, code)
	return i
}

// KernelInfo is the siginfo of a signal that a process (pid, uid) or the
// kernel (SI_KERNEL, 0, 0) sends.
func KernelInfo(sig, code, pid int32, uid uint32) SigInfo {
	i := baseInfo(sig, code)
	i.put32(16, pid)
	i.put32(20, int32(uid))
	return i
}

// FaultInfo is the siginfo of a fault at addr.
func FaultInfo(sig, code int32, addr uint64) SigInfo {
	i := baseInfo(sig, code)
	i.put64(16, addr)
	return i
}

// PollInfo is the siginfo of F_SETSIG's signal: fd has become ready for band.
func PollInfo(sig, code int32, band uint64, fd int32) SigInfo {
	i := baseInfo(sig, code)
	i.put64(16, band)
	i.put32(24, fd)
	return i
}

// ValueInfo is the siginfo of a message queue's or another kernel source's
// notice with a value.
func ValueInfo(sig, code, pid int32, uid uint32, value uint64) SigInfo {
	i := KernelInfo(sig, code, pid, uid)
	i.put64(24, value)
	return i
}

func timerInfo(sig, id, overrun int32, value uint64) SigInfo {
	i := baseInfo(sig, SI_TIMER)
	i.put32(16, id)
	i.put32(20, overrun)
	i.put64(24, value)
	return i
}

// SysInfo is the siginfo of seccomp's trap (SYS_SECCOMP), and of prctl(2)'s
// syscall user dispatch.
func SysInfo(code int32, callAddr uint64, nr int32, errno int32, arch uint32) SigInfo {
	i := baseInfo(SIGSYS, code)
	i.put32(4, errno)
	i.put64(16, callAddr)
	i.put32(24, nr)
	i.put32(28, int32(arch))
	return i
}

func childInfo(sig, code, pid int32, uid uint32, status int32, utime, stime int64) SigInfo {
	i := KernelInfo(sig, code, pid, uid)
	i.put32(24, status)
	i.put64(32, uint64(utime/nsPerTick))
	i.put64(40, uint64(stime/nsPerTick))
	return i
}

// sigCodes are the highest si_code of signals that have codes of their own.
var sigCodes = map[int32]int32{
	SIGILL: 11, SIGFPE: 15, SIGSEGV: 10, SIGBUS: 5, SIGTRAP: 6, SIGCHLD: 6, SIGIO: 6, SIGSYS: 2,
}

const (
	siDethread = -7
	siAsyncNL  = -60
	pollCodes  = 6
	// infoKept are the bytes of siginfo_t that Linux knows; the rest is for
	// layouts to come.
	infoKept = 48
)

// TooNew tells whether a siginfo from the guest has a code that is not known,
// and content where that code might have some: E2BIG.
func (i *SigInfo) TooNew() bool {
	sig, code := i.Signo(), i.Code()
	known := false
	switch limit, own := sigCodes[sig]; {
	case code == SI_KERNEL:
		known = true
	case code > SI_USER && own:
		known = code <= limit
	case code > SI_USER:
		known = code <= pollCodes
	default:
		known = code >= siDethread || code == siAsyncNL
	}
	return !known && [len(i) - infoKept]byte(i[infoKept:]) != [len(i) - infoKept]byte{}
}
