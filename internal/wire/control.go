// Package wire holds the messages that cross a process boundary of Bulkhead:
// between the lifecycle and a Sentry or Gofer (control*.go), and between a
// Sentry and its Gofer.
//
// # How a sandbox is started
//
//	lifecycle (bulkhead run, create, do)
//	  │ memfd: GoferConfig (JSON)
//	  ├────────────▶ bulkhead gofer  --conn-fd=N --config-fd=M
//	  │                    ▲
//	  │                    │ SOCK_SEQPACKET: the file protocol
//	  │ pipe: SentryConfig ▼
//	  ├────────────▶ bulkhead sentry --control-fd=C --gofer-fd=G --config-fd=M --ready-fd=R [--start]
//	  │
//	  │◀── R: one Ready (JSON, one line), then end of file
//	  │
//	  └◀─▶ C: requests and replies, below
//
// The Sentry reads SentryConfig to end of file before it starts any process of
// its own: until the lifecycle has closed that pipe, the Sentry may not be in
// its cgroups yet. When the sandbox is loaded, or cannot be, it writes one
// Ready and closes R. With --start it runs the init process at once; without,
// it waits for the Start request. Once init has ended, the Sentry drains its
// output and exits with init's status: the exit code, or 128 + the signal.
// Signals that reach the Sentry's own process (its pid is what `state` shows)
// are meant for the init process, SIGKILL and SIGSTOP apart, which the kernel
// applies. SIGWINCH makes it read the size of its host terminal again.
//
// The Gofer ends when its connection does, and the Sentry when its Gofer does.
//
// # The control connection
//
// C is a listening SOCK_STREAM Unix socket, or a connected one of a socket
// pair when there is but one client (ServeControl takes either; when the one
// client is gone, the Sentry ends the sandbox). A connection
// carries one request at a time, answered in order; who must wait (Wait) has a
// connection of its own. A frame is
//
//	0        4                    4+n
//	┌────────┬────────────────────┐
//	│ n (LE) │ JSON, n bytes      │  n ≤ MaxControlFrame
//	└────────┴────────────────────┘
//	descriptors by SCM_RIGHTS on the first byte, at most MaxControlFDs
//
// client: {"method":"Exec","args":{…}}      → server
// server: {"result":{…}} or {"error":{…}}   → client
//
// The client may close its end at any time; the server then drops the answer.
package wire

import "encoding/json"

// Limits of one frame of the control connection.
const (
	MaxControlFrame = 4 << 20 // bytes of JSON
	MaxControlFDs   = 64      // descriptors beside it
)

// Method names a control request.
type Method string

// The control requests. The comment gives argument and result.
const (
	MethodStart     Method = "Start"     // StartArgs → nothing; once, after Ready, without --start
	MethodExec      Method = "Exec"      // ExecArgs + descriptors → ExecResult
	MethodSignal    Method = "Signal"    // SignalArgs → nothing
	MethodWait      Method = "Wait"      // WaitArgs → WaitResult, when the process has ended
	MethodProcesses Method = "Processes" // nothing → []ProcessInfo
	MethodPause     Method = "Pause"     // nothing → nothing; every task stopped when answered
	MethodResume    Method = "Resume"    // nothing → nothing
	MethodStats     Method = "Stats"     // nothing → StatsResult
	MethodResize    Method = "Resize"    // ResizeArgs → nothing
	MethodUpdate    Method = "Update"    // Limits → nothing
	MethodShutdown  Method = "Shutdown"  // nothing → nothing; kills every task, then the Sentry exits
	MethodReport    Method = "Report"    // nothing → ReportResult: what everything in the sandbox waits for

	// Of a VM that is a pod's (control_pod.go).
	MethodPlace Method = "Place" // nothing → nothing, and descriptors
	MethodJoin  Method = "Join"  // JoinArgs + descriptors → nothing
)

// request and reply are the JSON of the two directions.
type request struct {
	Method Method `json:"method"`
	// Container is a further one of a pod, by the name that it joined with.
	Container string          `json:"container,omitempty"`
	Args      json.RawMessage `json:"args,omitempty"`
}

type reply struct {
	Error  *ControlError   `json:"error,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// ControlError is a refusal by the Sentry. Errno is set when a Linux error
// number says it best: ESRCH (no such process), ENOENT (no such file to
// execute), EINVAL, ENOSYS (not offered by this wall).
type ControlError struct {
	Message string `json:"message"`
	Errno   int    `json:"errno,omitempty"`
}

func (e *ControlError) Error() string { return e.Message }

// Ready is what the Sentry writes to --ready-fd, as one line of JSON. A
// sandbox that could not be loaded says why; Errno is set when init's program
// could not be executed (ENOENT, EACCES, ENOEXEC …), so that `do` can tell
// 126 and 127 from a failure of its own.
type Ready struct {
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
	Errno int    `json:"errno,omitempty"`
}

// StartArgs start init. Network is set when the interfaces of the container's
// network namespace were only known now: it replaces SentryConfig.Network, and
// the FD fields of its interfaces index the descriptors that came with the
// request.
type StartArgs struct {
	Network *Network `json:"network,omitempty"`
}

// ExecArgs start one more process. The descriptors beside it are stdin, stdout
// and stderr, then those for 3, 4, … With Process.Terminal the three are one
// host terminal, in raw mode: the Sentry makes a pty of its own and copies.
// Exec is allowed before Start (hooks that run inside the container).
type ExecArgs struct {
	Process Process `json:"process"`
	// IgnorePaused lets the process be made while the sandbox is paused; it
	// runs after Resume.
	IgnorePaused bool `json:"ignorePaused,omitempty"`
}

// ExecResult names the new process. ExecID is good for Wait, Signal and Resize
// until it has been waited for.
type ExecResult struct {
	ExecID string `json:"execID"`
	Pid    int    `json:"pid"` // in the guest's root PID namespace
}

// SignalArgs send a signal: to every process if All; else to the process of
// ExecID; else to Pid if it is not 0; else to init. Group sends it to the
// process group instead.
type SignalArgs struct {
	Signal int    `json:"signal"`
	All    bool   `json:"all,omitempty"`
	ExecID string `json:"execID,omitempty"`
	Pid    int    `json:"pid,omitempty"`
	Group  bool   `json:"group,omitempty"`
}

// WaitArgs name the process to wait for: ExecID, or init if it is empty.
type WaitArgs struct {
	ExecID string `json:"execID,omitempty"`
}

// WaitResult is a wait status as in wait(2).
type WaitResult struct {
	Status uint32 `json:"status"`
}

// ProcessInfo is one guest process. HostPid is its host process's pid as the
// Sentry sees it (in the Sentry's PID namespace), 0 if unknown.
type ProcessInfo struct {
	Pid       int      `json:"pid"`
	PPid      int      `json:"ppid"`
	HostPid   int      `json:"hostPid,omitempty"`
	UID       uint32   `json:"uid"`
	State     string   `json:"state,omitempty"` // as /proc/pid/stat: R S D T Z
	TTY       string   `json:"tty,omitempty"`   // "pts/0", or empty
	StartTime int64    `json:"startTime"`       // seconds since the epoch
	CPUNanos  uint64   `json:"cpuNanos"`
	Threads   int      `json:"threads"`
	Comm      string   `json:"comm"`
	Args      []string `json:"args,omitempty"`
}

// StatsResult is what only the Sentry can count; the rest of `events` comes
// from the host's cgroups where there are any.
type StatsResult struct {
	Pids        uint64           `json:"pids"` // tasks
	MemoryBytes uint64           `json:"memoryBytes,omitempty"`
	CPUNanos    uint64           `json:"cpuNanos,omitempty"`
	Interfaces  []InterfaceStats `json:"interfaces,omitempty"`
	// Syscalls counts how calls were answered ("stub", "fast", "signal"), for
	// metrics; may be absent.
	Syscalls map[string]uint64 `json:"syscalls,omitempty"`
	// What the hypervisor's process uses, guest memory and vCPUs included, of
	// a sandbox behind the VM wall.
	HypervisorBytes uint64 `json:"hypervisorBytes,omitempty"`
	HypervisorNanos uint64 `json:"hypervisorNanos,omitempty"`
}

// ReportResult is text for who looks for why a sandbox does not go on.
type ReportResult struct {
	Text string `json:"text"`
}

// InterfaceStats counts the traffic of one interface, as /proc/net/dev.
type InterfaceStats struct {
	Name      string `json:"name"`
	RxBytes   uint64 `json:"rxBytes"`
	RxPackets uint64 `json:"rxPackets"`
	RxErrors  uint64 `json:"rxErrors"`
	RxDropped uint64 `json:"rxDropped"`
	TxBytes   uint64 `json:"txBytes"`
	TxPackets uint64 `json:"txPackets"`
	TxErrors  uint64 `json:"txErrors"`
	TxDropped uint64 `json:"txDropped"`
}

// ResizeArgs set the window size of a process's terminal (init's if ExecID is
// empty).
type ResizeArgs struct {
	ExecID string `json:"execID,omitempty"`
	Rows   uint16 `json:"rows"`
	Cols   uint16 `json:"cols"`
}
