package syscalls

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_UNSHARE, Name: "unshare", Args: "flags:clone", Fn: sysUnshare, Note: noNamespaces},
		Row{Nr: unix.SYS_SETNS, Name: "setns", Args: "fd flags:clone", Fn: sysSetns, Note: noNamespaces},
		Row{Nr: unix.SYS_REBOOT, Name: "reboot", Args: "hex hex hex ptr", Fn: sysReboot},
	)
}

// noNamespaces is what calls with CLONE_NEW… flags say.
const noNamespaces = "CLONE_NEWNS: ENOSPC, as with user.max_mnt_namespaces 0; other new namespaces: EINVAL, as without CONFIG_*_NS"

const (
	newNamespaces = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWTIME
	unshareKnown = unix.CLONE_THREAD | unix.CLONE_FS | unix.CLONE_SIGHAND | unix.CLONE_VM | unix.CLONE_FILES |
		unix.CLONE_SYSVSEM | newNamespaces
)

// sysUnshare is unshare(2).
func sysUnshare(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	flags := a[0]
	if flags&^uint64(unshareKnown) != 0 {
		return 0, unix.EINVAL
	}
	if flags&(newNamespaces&^uint64(unix.CLONE_NEWUSER)) != 0 && !t.Creds().Capable(auth.CAP_SYS_ADMIN) && flags&unix.CLONE_NEWUSER == 0 {
		return 0, unix.EPERM
	}
	if flags&newNamespaces != 0 {
		return 0, kernel.NoNamespace(flags)
	}
	if flags&(unix.CLONE_THREAD|unix.CLONE_SIGHAND|unix.CLONE_VM) != 0 && !t.Alone(flags&unix.CLONE_VM != 0) {
		return 0, unix.EINVAL
	}
	if flags&unix.CLONE_FS != 0 {
		t.UnshareFS()
	}
	if flags&unix.CLONE_FILES != 0 {
		t.UnshareFDs()
	}
	return 0, 0
}

// sysSetns is setns(2).
func sysSetns(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	fd, e := t.FDs().GetFile(a.Int(0))
	if e != 0 {
		return 0, e
	}
	fd.DecRef()
	return 0, unix.EINVAL
}

// Magic numbers and commands of reboot(2).
const (
	rebootMagic1  = 0xfee1dead
	rebootHalt    = 0xcdef0123
	rebootPower   = 0x4321fedc
	rebootRestart = 0x01234567
	rebootArg     = 0xa1b2c3d4
)

// sysReboot is reboot(2) as in a PID namespace: pid 1 ends as if by SIGHUP
// (restart) or SIGINT (halt).
func sysReboot(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if !t.Creds().Capable(auth.CAP_SYS_BOOT) {
		return 0, unix.EPERM
	}
	if a.Uint32(0) != rebootMagic1 {
		return 0, unix.EINVAL
	}
	switch a.Uint32(1) {
	case 672274793, 85072278, 369367448, 537993216:
	default:
		return 0, unix.EINVAL
	}
	switch a.Uint32(2) {
	case rebootRestart, rebootArg:
		t.Kernel().Reboot(kernel.SIGHUP)
	case rebootHalt, rebootPower:
		t.Kernel().Reboot(kernel.SIGINT)
	default:
		return 0, unix.EINVAL
	}
	return 0, t.Pause()
}
