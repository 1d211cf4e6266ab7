package syscalls

import (
	"bytes"
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"

	"golang.org/x/sys/unix"
)

func init() {
	register(Row{Nr: unix.SYS_PRCTL, Name: "prctl", Args: "int hex hex hex hex", Fn: sysPrctl,
		Missing: "PR_SET_TSC with PR_TSC_SIGSEGV is EINVAL (the stub reads the counter), and rt_sigreturn is never dispatched to the user; " +
			"PR_SET_MM, PR_SET_VMA, PR_SET_MEMORY_MERGE, PR_SCHED_CORE and speculation controls are so as in a kernel without them"})
}

const (
	prGetAuxv  = 0x41555856
	commLen    = 16
	tscEnabled = 1
)

// sysPrctl is prctl(2).
func sysPrctl(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	tg := t.ThreadGroup()
	switch a.Int(0) {
	case unix.PR_SET_PDEATHSIG:
		if a[1] > kernel.NSIG {
			return 0, unix.EINVAL
		}
		t.SetPdeathSignal(int32(a[1]))
		return 0, 0
	case unix.PR_GET_PDEATHSIG:
		return 0, put32(t, a[1], uint32(t.PdeathSignal()))
	case unix.PR_GET_DUMPABLE:
		return uint64(tg.Dumpable()), 0
	case unix.PR_SET_DUMPABLE:
		if a[1] > 1 {
			return 0, unix.EINVAL
		}
		tg.SetDumpable(int32(a[1]))
		return 0, 0
	case unix.PR_SET_NAME:
		return 0, setComm(t, a[1])
	case unix.PR_GET_NAME:
		var b [commLen]byte
		copy(b[:commLen-1], t.Name())
		return 0, t.CopyOut(a[1], b[:])
	case unix.PR_GET_TIMING:
		return unix.PR_TIMING_STATISTICAL, 0
	case unix.PR_SET_TIMING:
		return 0, einvalUnless(a[1] == unix.PR_TIMING_STATISTICAL)
	case unix.PR_GET_TSC:
		return 0, put32(t, a[1], tscEnabled)
	case unix.PR_SET_TSC:
		return 0, einvalUnless(a[1] == tscEnabled)
	case unix.PR_GET_TIMERSLACK:
		return uint64(t.TimerSlack()), 0
	case unix.PR_SET_TIMERSLACK:
		t.SetTimerSlack(int64(a[1]))
		return 0, 0
	case unix.PR_SET_CHILD_SUBREAPER:
		tg.SetSubreaper(a[1] != 0)
		return 0, 0
	case unix.PR_GET_CHILD_SUBREAPER:
		return 0, put32(t, a[1], b2u(tg.Subreaper()))
	case unix.PR_SET_THP_DISABLE:
		if a[2] != 0 || a[3] != 0 || a[4] != 0 {
			return 0, unix.EINVAL
		}
		tg.SetNoTHP(a[1] != 0)
		return 0, 0
	case unix.PR_GET_THP_DISABLE:
		if a[1] != 0 || a[2] != 0 || a[3] != 0 || a[4] != 0 {
			return 0, unix.EINVAL
		}
		return uint64(b2u(tg.NoTHP())), 0
	case unix.PR_SET_MM:
		if !t.Creds().Capable(auth.CAP_SYS_RESOURCE) {
			return 0, unix.EPERM
		}
		return 0, unix.EINVAL
	case unix.PR_GET_SPECULATION_CTRL, unix.PR_SET_SPECULATION_CTRL:
		if a[3] != 0 || a[4] != 0 || a[2] != 0 && a.Int(0) == unix.PR_GET_SPECULATION_CTRL {
			return 0, unix.EINVAL
		}
		return 0, unix.ENODEV
	case unix.PR_GET_TID_ADDRESS:
		return 0, put64(t, a[1], t.ClearTID())
	case unix.PR_SET_MDWE:
		if a[2] != 0 || a[3] != 0 || a[4] != 0 {
			return 0, unix.EINVAL
		}
		return 0, t.MM().SetMDWE(a[1])
	case unix.PR_GET_MDWE:
		if a[1] != 0 || a[2] != 0 || a[3] != 0 || a[4] != 0 {
			return 0, unix.EINVAL
		}
		return t.MM().MDWE(), 0
	case unix.PR_MCE_KILL, unix.PR_MCE_KILL_GET:
		return mceKill(t, a)
	case unix.PR_SET_IO_FLUSHER, unix.PR_GET_IO_FLUSHER:
		return ioFlusher(t, a)
	case unix.PR_SET_SYSCALL_USER_DISPATCH:
		return 0, t.SetUserDispatch(a[1], a[2], a[3], a[4])
	case prGetAuxv:
		return getAuxv(t, a)
	}
	return prctlCreds(t, a)
}

// mceKill has when SIGBUS is to come for a page that the hardware lost: kept, as
// the host tells its own processes alone.
func mceKill(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[3] != 0 || a[4] != 0 {
		return 0, unix.EINVAL
	}
	if a.Int(0) == unix.PR_MCE_KILL_GET {
		if a[1] != 0 || a[2] != 0 {
			return 0, unix.EINVAL
		}
		return uint64(t.MCEKill()), 0
	}
	switch {
	case a[1] == unix.PR_MCE_KILL_CLEAR && a[2] == 0:
		t.SetMCEKill(unix.PR_MCE_KILL_DEFAULT)
	case a[1] == unix.PR_MCE_KILL_SET && a[2] <= unix.PR_MCE_KILL_DEFAULT:
		t.SetMCEKill(uint32(a[2]))
	default:
		return 0, unix.EINVAL
	}
	return 0, 0
}

// ioFlusher marks who writes a block device's data back: kept, as memory is
// never taken for the guest by writing its own pages.
func ioFlusher(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	get := a.Int(0) == unix.PR_GET_IO_FLUSHER
	switch {
	case !t.Creds().Capable(auth.CAP_SYS_RESOURCE):
		return 0, unix.EPERM
	case a[2] != 0 || a[3] != 0 || a[4] != 0 || a[1] > 1 || get && a[1] != 0:
		return 0, unix.EINVAL
	case get:
		return uint64(b2u(t.IOFlusher())), 0
	}
	t.SetIOFlusher(a[1] == 1)
	return 0, 0
}

func einvalUnless(ok bool) abi.Errno {
	if ok {
		return 0
	}
	return unix.EINVAL
}

func b2u(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// setComm copies a name of at most 15 bytes; what is behind its end need not be
// there.
func setComm(t *kernel.Task, addr uint64) abi.Errno {
	var b [commLen]byte
	n, e := t.CopyInPart(addr, b[:commLen-1])
	i := bytes.IndexByte(b[:n], 0)
	if i < 0 {
		if e != 0 {
			return e
		}
		i = commLen - 1
	}
	t.SetName(string(b[:i]))
	return 0
}

// getAuxv is PR_GET_AUXV: the vector's size, and as much of it as fits.
func getAuxv(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a[3] != 0 || a[4] != 0 {
		return 0, unix.EINVAL
	}
	v := t.ThreadGroup().Info().Auxv
	b := make([]byte, 8*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint64(b[8*i:], x)
	}
	return uint64(len(b)), t.CopyOut(a[1], b[:min(uint64(len(b)), a[2])])
}

// prctlCreds has the options of credentials and of seccomp.
func prctlCreds(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c := t.Creds()
	switch a.Int(0) {
	case unix.PR_GET_KEEPCAPS:
		return uint64(b2u(c.Securebits&auth.SECBIT_KEEP_CAPS != 0)), 0
	case unix.PR_SET_KEEPCAPS:
		if a[1] > 1 {
			return 0, unix.EINVAL
		}
		n, e := c.SetKeepCaps(a[1] == 1)
		return publish(t, n, e)
	case unix.PR_GET_SECUREBITS:
		return uint64(c.Securebits), 0
	case unix.PR_SET_SECUREBITS:
		n, e := c.SetSecurebits(a[1])
		return publish(t, n, e)
	case unix.PR_CAPBSET_READ:
		if a[1] > auth.CAP_LAST_CAP {
			return 0, unix.EINVAL
		}
		return uint64(b2u(c.Bounding.Has(int(a[1])))), 0
	case unix.PR_CAPBSET_DROP:
		n, e := c.DropBounding(a[1])
		return publish(t, n, e)
	case unix.PR_CAP_AMBIENT:
		return capAmbient(t, a)
	case unix.PR_SET_NO_NEW_PRIVS:
		if a[1] != 1 || a[2] != 0 || a[3] != 0 || a[4] != 0 {
			return 0, unix.EINVAL
		}
		n := c.Clone()
		n.NoNewPrivs = true
		return publish(t, n, 0)
	case unix.PR_GET_NO_NEW_PRIVS:
		if a[1] != 0 || a[2] != 0 || a[3] != 0 || a[4] != 0 {
			return 0, unix.EINVAL
		}
		return uint64(b2u(c.NoNewPrivs)), 0
	case unix.PR_GET_SECCOMP:
		mode, _ := t.SeccompMode()
		return uint64(mode), 0
	case unix.PR_SET_SECCOMP:
		return prSetSeccomp(t, a)
	}
	return 0, unix.EINVAL
}

// capAmbient is PR_CAP_AMBIENT.
func capAmbient(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c := t.Creds()
	if a[1] == unix.PR_CAP_AMBIENT_CLEAR_ALL {
		if a[2] != 0 || a[3] != 0 || a[4] != 0 {
			return 0, unix.EINVAL
		}
		return publish(t, c.LowerAmbient(auth.AllCaps), 0)
	}
	if a[3] != 0 || a[4] != 0 || a[2] > auth.CAP_LAST_CAP {
		return 0, unix.EINVAL
	}
	cp := int(a[2])
	switch a[1] {
	case unix.PR_CAP_AMBIENT_IS_SET:
		return uint64(b2u(c.Ambient.Has(cp))), 0
	case unix.PR_CAP_AMBIENT_RAISE:
		n, e := c.RaiseAmbient(cp)
		return publish(t, n, e)
	case unix.PR_CAP_AMBIENT_LOWER:
		return publish(t, c.LowerAmbient(1<<cp), 0)
	}
	return 0, unix.EINVAL
}
