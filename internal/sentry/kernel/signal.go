package kernel

import "math/bits"

// Signal numbers (signal(7), x86-64).
const (
	SIGHUP    = 1
	SIGINT    = 2
	SIGQUIT   = 3
	SIGILL    = 4
	SIGTRAP   = 5
	SIGABRT   = 6
	SIGBUS    = 7
	SIGFPE    = 8
	SIGKILL   = 9
	SIGUSR1   = 10
	SIGSEGV   = 11
	SIGUSR2   = 12
	SIGPIPE   = 13
	SIGALRM   = 14
	SIGTERM   = 15
	SIGSTKFLT = 16
	SIGCHLD   = 17
	SIGCONT   = 18
	SIGSTOP   = 19
	SIGTSTP   = 20
	SIGTTIN   = 21
	SIGTTOU   = 22
	SIGURG    = 23
	SIGXCPU   = 24
	SIGXFSZ   = 25
	SIGVTALRM = 26
	SIGPROF   = 27
	SIGWINCH  = 28
	SIGIO     = 29
	SIGPWR    = 30
	SIGSYS    = 31
	SIGRTMIN  = 32
	NSIG      = 64
)

// Handlers and flags of sigaction(2).
const (
	SIG_DFL = 0
	SIG_IGN = 1

	SA_NOCLDSTOP = 0x1
	SA_NOCLDWAIT = 0x2
	SA_SIGINFO   = 0x4
	SA_RESTORER  = 0x04000000
	SA_ONSTACK   = 0x08000000
	SA_RESTART   = 0x10000000
	SA_NODEFER   = 0x40000000
	SA_RESETHAND = 0x80000000

	// saKnown are the flags that are kept: SA_UNSUPPORTED and others are
	// cleared, so that a program can tell what the kernel knows.
	saKnown = SA_NOCLDSTOP | SA_NOCLDWAIT | SA_SIGINFO | SA_RESTORER | SA_ONSTACK | SA_RESTART | SA_NODEFER | SA_RESETHAND | 0x800 // SA_EXPOSE_TAGBITS
)

// SignalSet is a set of signals, bit n-1 for signal n (sigset_t).
type SignalSet uint64

// SigBit gives the set that has sig alone.
func SigBit(sig int32) SignalSet { return 1 << uint(sig-1) }

// Has tells whether sig is in the set.
func (s SignalSet) Has(sig int32) bool { return s>>uint(sig-1)&1 != 0 }

// first gives the lowest signal of a set that is not empty.
func (s SignalSet) first() int32 { return int32(bits.TrailingZeros64(uint64(s))) + 1 }

// Classes of signals.
const (
	sigKernelOnly  = SignalSet(1<<(SIGKILL-1) | 1<<(SIGSTOP-1))
	sigStop        = SignalSet(1<<(SIGSTOP-1) | 1<<(SIGTSTP-1) | 1<<(SIGTTIN-1) | 1<<(SIGTTOU-1))
	sigCore        = SignalSet(1<<(SIGQUIT-1) | 1<<(SIGILL-1) | 1<<(SIGTRAP-1) | 1<<(SIGABRT-1) | 1<<(SIGFPE-1) | 1<<(SIGSEGV-1) | 1<<(SIGBUS-1) | 1<<(SIGSYS-1) | 1<<(SIGXCPU-1) | 1<<(SIGXFSZ-1))
	sigIgnoredDfl  = SignalSet(1<<(SIGCONT-1) | 1<<(SIGCHLD-1) | 1<<(SIGWINCH-1) | 1<<(SIGURG-1))
	sigSynchronous = SignalSet(1<<(SIGSEGV-1) | 1<<(SIGBUS-1) | 1<<(SIGILL-1) | 1<<(SIGTRAP-1) | 1<<(SIGFPE-1) | 1<<(SIGSYS-1))
)

// validSignal tells whether sig is one (not 0).
func validSignal(sig int32) bool { return sig >= 1 && sig <= NSIG }

// SigAction is what a process does with a signal (sigaction(2)).
type SigAction struct {
	Handler  uint64 // SIG_DFL, SIG_IGN or an address
	Flags    uint64
	Restorer uint64
	Mask     SignalSet
}

// AltStack is sigaltstack(2)'s stack_t.
type AltStack struct {
	SP    uint64
	Flags uint32
	Size  uint64
}

// Flags of an alternate stack.
const (
	SS_ONSTACK    = 1
	SS_DISABLE    = 2
	SS_AUTODISARM = 1 << 31
)

// Contains tells whether sp lies on the stack.
func (s *AltStack) Contains(sp uint64) bool { return sp > s.SP && sp-s.SP <= s.Size }

// DeliveryKind says what a task does before it goes on in user mode.
type DeliveryKind uint8

const (
	DeliverNothing DeliveryKind = iota
	DeliverHandler              // build a frame and run the handler
	DeliverExit                 // leave with Status; the others of the group are told
)

// Delivery is what dequeueForDelivery found. It stays the task's, and valid
// until the next call.
type Delivery struct {
	Kind   DeliveryKind
	Sig    int32
	Info   SigInfo
	Action SigAction
	// SaveMask is what the frame keeps, NewMask what holds while the handler
	// runs; handlerStarted installs it.
	SaveMask, NewMask SignalSet
	// Status is the exit status as wait4(2) shows it.
	Status uint32
}

// Restart says how an interrupted call goes on.
type Restart uint8

const (
	RestartNone  Restart = iota // the result stands
	RestartEINTR                // the result becomes EINTR
	RestartSame                 // the call is made again
	RestartBlock                // restart_syscall(2) is made in its place
)
