package filters

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/seccomp"
)

// mapDroppable is MAP_DROPPABLE of linux/mman.h, since Linux 6.11.
const mapDroppable = 8

// MonitorNeeds are what one sandbox's monitor does beside what all do.
type MonitorNeeds struct {
	Network bool // interfaces are joined to the VM's at the start
	API     bool // the hypervisor is spoken to over sockets with names
	Vsock   bool // the agent is reached by the host's vsock
	Files   bool // its directory is not in a mount namespace of its own: it removes it
}

// Everything are the needs of which the filter has all its rules.
var Everything = MonitorNeeds{Network: true, API: true, Vsock: true, Files: true}

// Monitor is the filter of the VM's monitor once its hypervisor and virtiofsd
// have been started, before the guest's first word: it executes nothing, opens
// no file to write, makes no socket but those that needs names. A call outside
// it ends the monitor, and so the sandbox, with a trace of where it came from.
func Monitor(needs MonitorNeeds) *seccomp.Filter {
	f := &seccomp.Filter{Default: seccomp.Trap}
	f.Rules = append(append(f.Rules, seccomp.GoRuntime...), monitorRules...)
	if needs.Network {
		f.Rules = append(f.Rules, monitorNetwork...)
	}
	if needs.API {
		f.Rules = append(f.Rules, monitorAPI...)
	}
	if needs.Vsock {
		f.Rules = append(f.Rules, monitorVsock...)
	}
	if needs.API || needs.Vsock {
		f.Rules = append(f.Rules, monitorConnect)
	}
	if needs.Files {
		f.Rules = append(f.Rules, monitorFiles...)
	}
	return f
}

// Member is the filter of what stands for a further container of a pod: the
// monitor's, and connections to that.
func Member() *seccomp.Filter {
	f := &seccomp.Filter{Default: seccomp.Trap}
	f.Rules = append(append(append(f.Rules, seccomp.GoRuntime...), monitorRules...), memberRules...)
	return f
}

// memberRules are of requests that are passed on.
var memberRules = []seccomp.Rule{
	{Nr: unix.SYS_SOCKET, Name: "socket", Reason: "a connection to the pod's monitor", When: []seccomp.Cond{
		seccomp.Arg(0, unix.AF_UNIX), seccomp.Arg(1, unix.SOCK_STREAM|unix.SOCK_CLOEXEC), seccomp.Arg(2, 0)}},
	{Nr: unix.SYS_CONNECT, Name: "connect", Reason: "the same"},
	{Nr: unix.SYS_SHUTDOWN, Name: "shutdown", Reason: "its end"},
}

var monitorRules = []seccomp.Rule{
	// Go's runtime and its poller, which are there by then.
	{Nr: unix.SYS_RT_SIGACTION, Name: "rt_sigaction", Reason: "signals that are caught, and the default of one that ends it"},
	{Nr: unix.SYS_EPOLL_CTL, Name: "epoll_ctl", Reason: "descriptors come to the poller and go"},
	{Nr: unix.SYS_EPOLL_PWAIT, Name: "epoll_pwait", Reason: "the poller waits"},
	{Nr: unix.SYS_CLOCK_GETTIME, Name: "clock_gettime", Reason: "clocks without a vDSO"},
	{Nr: unix.SYS_GETRANDOM, Name: "getrandom", Reason: "random bytes: the guest's seed"},
	{Nr: unix.SYS_MMAP, Name: "mmap", Reason: "state of the vDSO's getrandom: private memory that may be dropped", When: []seccomp.Cond{
		seccomp.Arg(2, unix.PROT_READ|unix.PROT_WRITE), seccomp.Arg(3, mapDroppable|unix.MAP_ANONYMOUS)}},

	// The agent's channel, QEMU's monitor, the lifecycle's connections.
	{Nr: unix.SYS_READ, Name: "read", Reason: "the agent's channel, QEMU's monitor, what is typed and piped in"},
	{Nr: unix.SYS_SENDMSG, Name: "sendmsg", Reason: "a template's state to QEMU; answers to the lifecycle"},
	{Nr: unix.SYS_RECVMSG, Name: "recvmsg", Reason: "the lifecycle's requests, with the descriptors of a process"},
	{Nr: unix.SYS_ACCEPT4, Name: "accept4", Reason: "the lifecycle's connections"},
	{Nr: unix.SYS_GETSOCKOPT, Name: "getsockopt", Reason: "whether the lifecycle's socket listens: SO_ACCEPTCONN", When: []seccomp.Cond{seccomp.Arg(1, unix.SOL_SOCKET), seccomp.Arg(2, unix.SO_ACCEPTCONN)}},
	{Nr: unix.SYS_CLOSE, Name: "close", Reason: "descriptors"},

	// A process's own descriptors.
	{Nr: unix.SYS_PPOLL, Name: "ppoll", Reason: "waiting for input, whose mode is not the monitor's to change"},
	{Nr: unix.SYS_PIPE2, Name: "pipe2", Reason: "what ends the reading of input"},
	{Nr: unix.SYS_FSTAT, Name: "fstat", Reason: "whether a descriptor is /dev/null; /proc's file"},
	{Nr: unix.SYS_FCNTL, Name: "fcntl", Reason: "how a descriptor was opened: F_GETFL", When: []seccomp.Cond{seccomp.Arg(1, unix.F_GETFL)}},
	{Nr: unix.SYS_FCNTL, Name: "fcntl", Reason: "a descriptor of its own blocks, or does not: F_SETFL", When: []seccomp.Cond{seccomp.Arg(1, unix.F_SETFL)}},
	{Nr: unix.SYS_IOCTL, Name: "ioctl", Reason: "a terminal's size: TIOCGWINSZ", When: []seccomp.Cond{seccomp.Arg(1, unix.TIOCGWINSZ)}},
	{Nr: unix.SYS_IOCTL, Name: "ioctl", Reason: "whether the log is a terminal: TCGETS", When: []seccomp.Cond{seccomp.Arg(1, unix.TCGETS)}},

	// The hypervisor and virtiofsd.
	{Nr: unix.SYS_OPENAT, Name: "openat", Reason: "what the hypervisor uses, in /proc: files are opened to read alone", When: []seccomp.Cond{seccomp.Bits(2, unix.O_ACCMODE|unix.O_CREAT, 0)}},
	{Nr: unix.SYS_WAITID, Name: "waitid", Reason: "waiting for the end of one of them", When: []seccomp.Cond{seccomp.Arg(0, unix.P_PID), seccomp.Arg(3, unix.WEXITED|unix.WNOWAIT)}},
	{Nr: unix.SYS_WAIT4, Name: "wait4", Reason: "how it has ended", When: []seccomp.Cond{seccomp.Range(0, 2, 1<<22)}},
	{Nr: unix.SYS_KILL, Name: "kill", Reason: "ending one of them, never a group", When: []seccomp.Cond{seccomp.Range(0, 2, 1<<22), seccomp.Arg(1, uint64(unix.SIGKILL))}},
}

// monitorNetwork joins interfaces to taps (internal/vm/tap).
var monitorNetwork = []seccomp.Rule{
	{Nr: unix.SYS_SOCKET, Name: "socket", Reason: "rtnetlink: a tap is brought up, traffic is redirected", When: []seccomp.Cond{
		seccomp.Arg(0, unix.AF_NETLINK), seccomp.Arg(1, unix.SOCK_RAW|unix.SOCK_CLOEXEC), seccomp.Arg(2, unix.NETLINK_ROUTE)}},
	{Nr: unix.SYS_SOCKET, Name: "socket", Reason: "for the number of a tap, which a socket is asked for", When: []seccomp.Cond{
		seccomp.Arg(0, unix.AF_INET), seccomp.Arg(1, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC), seccomp.Arg(2, 0)}},
	{Nr: unix.SYS_IOCTL, Name: "ioctl", Reason: "a tap's number: SIOCGIFINDEX", When: []seccomp.Cond{seccomp.Arg(1, unix.SIOCGIFINDEX)}},
	{Nr: unix.SYS_SENDTO, Name: "sendto", Reason: "a request of rtnetlink"},
	{Nr: unix.SYS_RECVFROM, Name: "recvfrom", Reason: "its acknowledgement"},
}

// monitorAPI is for Cloud Hypervisor and Firecracker, whose API and vsock are
// sockets with names.
var monitorAPI = []seccomp.Rule{
	{Nr: unix.SYS_SOCKET, Name: "socket", Reason: "a connection to the hypervisor's API, or to the guest's vsock through it", When: []seccomp.Cond{
		seccomp.Arg(0, unix.AF_UNIX), seccomp.Arg(1, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK), seccomp.Arg(2, 0)}},
	{Nr: unix.SYS_GETSOCKOPT, Name: "getsockopt", Reason: "the same: whether it is connected, SO_ERROR", When: []seccomp.Cond{seccomp.Arg(1, unix.SOL_SOCKET), seccomp.Arg(2, unix.SO_ERROR)}},
	{Nr: unix.SYS_GETSOCKNAME, Name: "getsockname", Reason: "the same: Go notes both names"},
	{Nr: unix.SYS_GETPEERNAME, Name: "getpeername", Reason: "the same"},
}

// monitorVsock reaches the agent of a QEMU with vsock.
var monitorVsock = []seccomp.Rule{
	{Nr: unix.SYS_SOCKET, Name: "socket", Reason: "the agent's channel by vsock", When: []seccomp.Cond{
		seccomp.Arg(0, unix.AF_VSOCK), seccomp.Arg(1, unix.SOCK_STREAM|unix.SOCK_CLOEXEC), seccomp.Arg(2, 0)}},
}

// monitorConnect is for both kinds of sockets.
var monitorConnect = seccomp.Rule{Nr: unix.SYS_CONNECT, Name: "connect", Reason: "a connection to the hypervisor's API, or to the guest's vsock"}

// monitorFiles removes the monitor's directory where there is no mount namespace
// that takes it along.
var monitorFiles = []seccomp.Rule{
	{Nr: unix.SYS_UNLINKAT, Name: "unlinkat", Reason: "its directory in /dev/shm goes with it"},
	{Nr: unix.SYS_GETDENTS64, Name: "getdents64", Reason: "the same"},
	{Nr: unix.SYS_NEWFSTATAT, Name: "newfstatat", Reason: "the same"},
}
