package syscalls

import (
	"encoding/binary"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"

	"golang.org/x/sys/unix"
)

func init() {
	register(
		Row{Nr: unix.SYS_UNAME, Name: "uname", Args: "ptr", Fn: sysUname},
		Row{Nr: unix.SYS_SETHOSTNAME, Name: "sethostname", Args: "ptr size", Fn: sysSethostname},
		Row{Nr: unix.SYS_SETDOMAINNAME, Name: "setdomainname", Args: "ptr size", Fn: sysSetdomainname},
		Row{Nr: unix.SYS_SYSINFO, Name: "sysinfo", Args: "ptr", Fn: sysSysinfo},
		Row{Nr: unix.SYS_PERSONALITY, Name: "personality", Args: "hex", Fn: sysPersonality,
			Note: "MMAP_PAGE_ZERO maps nothing, as below vm.mmap_min_addr; what Linux keeps for other systems is kept"},
		Row{Nr: unix.SYS_GETRANDOM, Name: "getrandom", Args: "buf size flags:getrandom", Fn: sysGetrandom},
		Row{Nr: unix.SYS_SYSLOG, Name: "syslog", Args: "int ptr size", Fn: sysSyslog},
		Row{Nr: unix.SYS_MEMBARRIER, Name: "membarrier", Args: "int hex int", Fn: sysMembarrier,
			Note: "SYNC_CORE and RSEQ commands: EINVAL, and not in QUERY's answer, as without CONFIG_ARCH_HAS_MEMBARRIER_SYNC_CORE and CONFIG_RSEQ"},
	)
}

const (
	utsLen        = 65
	personaQuery  = 0xffffffff
	personaMask   = 0xff
	persona32     = 8
	personaUname2 = 0x0020000
)

// sysUname is uname(2).
func sysUname(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	k := t.Kernel()
	machine, release := kernel.UTSMachine, kernel.UTSRelease
	if t.Personality()&personaMask == persona32 {
		machine = "i686"
	}
	if t.Personality()&personaUname2 != 0 {
		release = "2.6.72"
	}
	var b [6 * utsLen]byte
	for i, s := range [...]string{kernel.UTSSysname, k.Hostname(), release, kernel.UTSVersion, machine, k.Domainname()} {
		copy(b[i*utsLen:(i+1)*utsLen-1], s)
	}
	return 0, t.CopyOut(a[0], b[:])
}

// setName is sethostname(2)'s and setdomainname(2)'s common part.
func setName(t *kernel.Task, a *Args, set func(string) abi.Errno) (uint64, abi.Errno) {
	if !t.Creds().Capable(auth.CAP_SYS_ADMIN) {
		return 0, unix.EPERM
	}
	n := a.Int(1)
	if n < 0 || n >= utsLen {
		return 0, unix.EINVAL
	}
	b := make([]byte, n)
	if e := t.CopyIn(a[0], b); e != 0 {
		return 0, e
	}
	return 0, set(string(b))
}

// sysSethostname is sethostname(2).
func sysSethostname(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return setName(t, a, t.Kernel().SetHostname)
}

// sysSetdomainname is setdomainname(2).
func sysSetdomainname(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	return setName(t, a, t.Kernel().SetDomainname)
}

const sysinfoSize = 112

// sysSysinfo is sysinfo(2).
func sysSysinfo(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	k := t.Kernel()
	total, free := k.Memory()
	_, procs := k.Counts()
	var b [sysinfoSize]byte
	le := binary.LittleEndian
	le.PutUint64(b[:], uint64((ktime.Mono()-k.BootMono()+1e9-1)/1e9))
	le.PutUint64(b[32:], total)
	le.PutUint64(b[40:], free)
	le.PutUint16(b[80:], uint16(min(procs, 0xffff)))
	le.PutUint32(b[104:], 1) // mem_unit
	return 0, t.CopyOut(a[0], b[:])
}

// sysPersonality is personality(2).
func sysPersonality(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	old := t.Personality()
	if p := a.Uint32(0); p != personaQuery {
		t.SetPersonality(p)
	}
	return uint64(old), 0
}

// smallRandom is what getrandom(2) gives through the shared page.
const smallRandom = 256

// sysGetrandom is getrandom(2), from the host's pool.
func sysGetrandom(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	const known = unix.GRND_NONBLOCK | unix.GRND_RANDOM | unix.GRND_INSECURE
	flags := a.Uint32(2)
	if flags&^known != 0 || flags&(unix.GRND_RANDOM|unix.GRND_INSECURE) == unix.GRND_RANDOM|unix.GRND_INSECURE {
		return 0, unix.EINVAL
	}
	count := min(a[1], maxRW)
	if !accessOK(a[0], count) {
		return 0, unix.EFAULT
	}
	if count <= smallRandom {
		b := t.ReadBuf(int(count))
		n, err := unix.Getrandom(b, 0)
		if err != nil {
			return 0, unix.EAGAIN
		}
		return uint64(n), t.CopyOut(a[0], b[:n])
	}
	s := getScratch(int(min(count, chunkSize)))
	defer s.put()
	done := uint64(0)
	for done < count {
		n, err := unix.Getrandom(s.b[:min(count-done, uint64(len(s.b)))], 0)
		if err != nil || n == 0 {
			break
		}
		k, e := t.CopyOutNow(a[0]+done, s.b[:n])
		done += uint64(k)
		if e != 0 {
			if done == 0 {
				return 0, e
			}
			break
		}
		if done < count && t.Interrupted() {
			break
		}
	}
	return done, 0
}

// Actions of syslog(2).
const (
	syslogClose = iota
	syslogOpen
	syslogRead
	syslogReadAll
	syslogReadClear
	syslogClear
	syslogConsoleOff
	syslogConsoleOn
	syslogConsoleLevel
	syslogSizeUnread
	syslogSizeBuffer
)

// sysSyslog is syslog(2), with dmesg_restrict set: there is no console, whose
// levels are taken and change nothing.
func sysSyslog(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	c := t.Creds()
	if !c.Capable(auth.CAP_SYSLOG) && !c.Capable(auth.CAP_SYS_ADMIN) {
		return 0, unix.EPERM
	}
	log, n := t.Kernel().Log(), int(min(a.Int(2), kernel.LogSize))
	switch a.Int(0) {
	case syslogRead, syslogReadAll, syslogReadClear:
		if a[1] == 0 || n < 0 {
			return 0, unix.EINVAL
		}
		if n == 0 {
			return 0, 0
		}
		if !accessOK(a[1], uint64(n)) {
			return 0, unix.EFAULT
		}
		return syslogCopy(t, log, a.Int(0), a[1], n)
	case syslogClear:
		log.Clear()
		return 0, 0
	case syslogSizeUnread:
		return uint64(log.Unread()), 0
	case syslogClose, syslogOpen, syslogConsoleOff, syslogConsoleOn:
		return 0, 0
	case syslogConsoleLevel:
		return 0, einvalUnless(a.Int(2) >= 1 && a.Int(2) <= 8)
	case syslogSizeBuffer:
		return kernel.LogSize, 0
	}
	return 0, unix.EINVAL
}

func syslogCopy(t *kernel.Task, log *kernel.Log, action int32, addr uint64, n int) (uint64, abi.Errno) {
	var b []byte
	if action == syslogRead {
		if e := t.SyslogWait(); e != 0 {
			return 0, e
		}
		b = log.Read(n)
	} else {
		b = log.Last(n)
	}
	if e := t.CopyOut(addr, b); e != 0 {
		return 0, e
	}
	if action == syslogReadClear {
		log.Clear()
	}
	return uint64(len(b)), 0
}

// Commands of membarrier(2).
const (
	membarrierQuery             = 0
	membarrierGlobal            = 1
	membarrierGlobalExpedited   = 2
	membarrierRegisterGlobal    = 4
	membarrierPrivateExpedited  = 8
	membarrierRegisterExpedited = 16
	membarrierKnown             = 31
)

// sysMembarrier is membarrier(2). The host's expedited global barrier reaches
// all guests' threads wherever they run; the others are made of it.
func sysMembarrier(t *kernel.Task, a *Args) (uint64, abi.Errno) {
	if a.Uint32(1) != 0 {
		return 0, unix.EINVAL
	}
	switch a.Int(0) {
	case membarrierQuery:
		return membarrierKnown, 0
	case membarrierRegisterGlobal:
		return 0, 0
	case membarrierRegisterExpedited:
		t.ThreadGroup().RegisterBarrier()
		return 0, 0
	case membarrierPrivateExpedited:
		if !t.ThreadGroup().BarrierRegistered() {
			return 0, unix.EPERM
		}
		return 0, t.Kernel().Barrier()
	case membarrierGlobal, membarrierGlobalExpedited:
		return 0, t.Kernel().Barrier()
	}
	return 0, unix.EINVAL
}
