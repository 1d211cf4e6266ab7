package platform

// The map of a guest process above its own part; see stub/layout.h. A test
// compares these numbers with the stub's.
const (
	StubBase     = 0x7ff000000000
	StubTextSize = 0x10000
	vdsoBase     = 0x7ff000100000
	privBase     = 0x7ff010000000
	privSize     = 0x10000
	slotBase     = 0x7ff100000000
	slotSize     = 0x20000
	maxSlots     = 4096
	slotData     = 0x1000
	inMax        = 0x8000  // the guest's bytes in a slot's data; ours follow
	socksAt      = 0x18000 // in a slot's data, behind ours: struct socks
	noteAt       = 0x1c000 // the last: struct note
	dataSize     = socksAt
	fdsAt        = 0x7c00 // the last of the guest's bytes: struct fds
	fdsMax       = 64
	fdOps        = 16
	postAt       = 0x7e00 // and an accepted write's
	postMax      = 0x200

	boxMax  = 256
	ctlOps  = 64
	ctlAt   = 272 // in struct socks
	boxesAt = ctlAt + 16*ctlOps
	boxSize = 16 + 2*boxMax

	noteSize    = slotSize - slotData - noteAt
	noteStatAt  = 16
	noteNameAt  = 160
	noteNameMax = 96
	noteDentsAt = 256
	noteDents   = noteSize - noteDentsAt

	// TaskSize is where the guest's own addresses end.
	TaskSize = StubBase
)

const (
	turnGuest   = 0
	turnRequest = 1
	turnReply   = 2
	turnKick    = 3
	turnPosted  = 5
)

// Kind says why the guest's thread stopped.
type Kind uint32

// The kinds of events.
const (
	KindSyscall   Kind = 1   // through SIGSYS: the registers are in a frame
	KindFast      Kind = 2   // through a patched site: no frame
	KindFault     Kind = 3   // a synchronous signal of the host's
	KindInterrupt Kind = 4   // Kick came while guest code ran, or ReplyTrap asked
	KindDone      Kind = 5   // the operations are done
	KindOpFail    Kind = 6   // an operation failed
	KindReady     Kind = 7   // the zygote waits for its first reply
	KindDied      Kind = 100 // the host process is gone
)

// Flags of a reply.
const (
	replyFinal    = 1
	ReplyTrap     = 2
	ReplyKeepRax  = 4
	ReplyRetry    = 8
	bitsetGuest   = 1
	bitsetSentry  = 2
	sigKick       = 35
	maxOps        = 54
	maxIn         = 4
	answersValid  = 1
	clonePageSize = 4096
)

const (
	opCopyOut  = 1
	opMmap     = 2
	opMunmap   = 3
	opMprotect = 4
	opMremap   = 5
	opMadvise  = 6
	opRecvFD   = 7
	opCloseFD  = 8
	opFork     = 9
	opClone    = 10
	opStart    = 11
	opDeliver  = 12
	opRestart  = 13
	opPatch    = 14
	opExit     = 15
	opSeccomp  = 16
	opSetFS    = 17
	opRobust   = 18
	opSetSP    = 19
	opPoke     = 20
	opEmpty    = 21
)

type op struct {
	code, flags uint32
	a           [7]uint64
}

type inSegment struct {
	addr     uint64
	off, len uint32
}

// slot mirrors struct slot of stub/layout.h.
type slot struct {
	turn         uint32
	_            [15]uint32
	sentrySleeps uint32
	_            [15]uint32
	guestSleeps  uint32
	doneSeq      uint32
	hostTID      uint32
	fdTail       uint32
	mask         uint64
	robust       uint64
	loan         uint32
	posted       uint32
	dropLo       uint64
	dropHi       uint64
	fdLent       uint32
	fdHead       uint32
	spinTSC      uint64
	yields       uint32
	answers      uint32
	pid          uint32
	tid          uint32
	ppid         uint32
	uid          uint32
	euid         uint32
	gid          uint32
	egid         uint32
	parked       uint32
	maskable     uint32
	note         uint32
	gettime      uint64

	kind     uint32
	nr       uint32
	arg      [6]uint64
	ip, sp   uint64
	sig      uint32
	code     int32
	addr     uint64
	trapno   uint64
	err      uint64
	result   uint64
	failedOp uint32
	opErrno  int32
	tsc      int64
	nin      uint32
	cpu      uint32
	in       [maxIn]inSegment
	_        [5]uint64
	boxes    uint32
	boxBits  uint32
	ctlLent  uint32
	lazy     uint32

	seq    uint32
	nops   uint32
	rax    uint64
	rflags uint32
	_      [11]uint32
	op     [maxOps]op
}
