// Package inspect is what the process table shows of itself: /proc reads
// processes through these interfaces, and the kernel implements them, so that
// neither imports the other. It also has the registry of files in /proc that
// other parts of the Sentry fill in (Provide). Implementations take their own
// locks; callers hold none of theirs.
package inspect

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// View is the process table.
type View interface {
	// PIDs lists the processes above after, by rising id.
	PIDs(after int32) []int32
	// Task finds a thread by its id: a process is its leader. nil: none.
	Task(tid int32) Task
	System() System
	// Boot gives the clocks at boot, in ns; MemTotal the memory there is.
	Boot() (mono, real int64)
	MemTotal() uint64
	// MemUse gives what of it is in use, and what of that is shared memory and
	// files in memory. It looks at every process.
	MemUse() (used, shmem uint64)

	Hostname() string
	SetHostname(string) abi.Errno
	Domainname() string
	SetDomainname(string) abi.Errno
}

// System are figures of the sandbox as a whole.
type System struct {
	Forks            uint64
	Tasks, Processes int
	Running          int
	LastPID          int32
	UserNS, SystemNS int64 // CPU time used by all that ever ran
}

// Task is a thread; asked through a leader it also answers for the process.
// Implementations are comparable: the same thread gives equal Tasks.
type Task interface {
	TID() int32
	PID() int32
	// Alive tells whether the id still is the task's.
	Alive() bool
	// Threads lists the ids of the process's threads, Children those of the
	// children that this thread made.
	Threads() []int32
	Children() []int32

	Comm() string
	SetComm(string)
	// Command is the argument area, or "" for none; Environ the environment.
	Command() []byte
	Environ() []byte
	Auxv() []byte

	Creds() *auth.Creds
	Dumpable() bool
	Stat() Stat
	Memory() Memory
	Limits() [16][2]uint64

	// Regions calls f for each mapping by rising address; Path is borrowed
	// and valid during the call.
	Regions(f func(Region) bool)
	// Residence gives what of the address space is in memory, by rising
	// address; nil where it is not known.
	Residence() []Residence
	// ReadMemory and WriteMemory access the task's memory; less than asked for
	// means that the rest is not there.
	ReadMemory(addr uint64, b []byte) (int, abi.Errno)
	WriteMemory(addr uint64, b []byte) (int, abi.Errno)

	// FDs and FS give what the task uses, counted once more, nil after its
	// exit. Call release when done.
	FDs() (t *vfs.FDTable, release func())
	FS() (f *vfs.FSContext, release func())
	// Exe gives the program, pinned; false: none.
	Exe() (vfs.Path, bool)

	OOMScoreAdj() int32
	SetOOMScoreAdj(int32)
	Personality() uint32
	TimerSlack() int64
	SetTimerSlack(int64)
}

// Stat are a task's figures, for stat and status.
type Stat struct {
	State                  byte // R S D T t Z X
	PPID, PGID, SID        int32
	TTY                    uint32
	Foreground             int32 // the terminal's foreground group, -1 without one
	MinFaults, MajFaults   int64
	ChildMin, ChildMaj     int64
	UserNS, SystemNS       int64
	ChildUserNS, ChildSys  int64
	Nice                   int32
	Threads                int
	StartNS                int64 // CLOCK_MONOTONIC at its start
	ExitSignal             int32
	Policy                 int32
	RTPriority             int32
	ExitStatus             uint32
	CPU                    int
	CPUs                   []uint64 // affinity
	Pending, SharedPending uint64
	Blocked                uint64
	Ignored, Caught        uint64
	Queued, QueueLimit     uint64
	Voluntary, Forced      int64
	SeccompMode            int
	SeccompFilters         int
	Umask                  uint32
	NoNewPrivs             bool
	ReadBytes, WriteBytes  int64
	ReadCalls, WriteCalls  int64
}

// Memory are the sizes of an address space, in bytes; None: a zombie.
type Memory struct {
	None                                     bool
	Total, Peak, RSS, PeakRSS                uint64
	RSSAnon, RSSFile, RSSShmem               uint64
	Data, Stack, Exec, Lib, Locked, PTE      uint64
	StartCode, EndCode, StartStack, StartBrk uint64
	ArgStart, ArgEnd, EnvStart, EnvEnd       uint64
}

// ResidenceNames are the lines of smaps about a mapping's pages, in their order.
var ResidenceNames = [...]string{
	"Rss", "Pss", "Pss_Dirty", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced", "Anonymous", "KSM",
	"LazyFree", "AnonHugePages", "ShmemPmdMapped", "FilePmdMapped", "Shared_Hugetlb", "Private_Hugetlb", "Swap", "SwapPss", "Locked",
}

// The places of some of them.
const (
	ResRSS       = 0
	ResPSS       = 1
	ResPSSDirty  = 2
	ResClean     = 5
	ResDirty     = 6
	ResReference = 7
	ResAnonymous = 8
	ResLocked    = 18
)

// Residence are their values for a part of an address space, in KiB.
type Residence struct {
	Start, End uint64
	KiB        [len(ResidenceNames)]uint64
}

// Region is a mapping.
type Region struct {
	Start, End uint64
	Prot       uint32 // PROT_*
	Shared     bool
	File       *vfs.FileDescription // nil: anonymous
	Off        int64
	Name       string // "[heap]"
	Locked     bool
	Grows      bool
}
