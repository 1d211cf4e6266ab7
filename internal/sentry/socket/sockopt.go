package socket

import (
	"encoding/binary"
	"math"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"golang.org/x/sys/unix"
)

var le = binary.LittleEndian

func putTimespec(b []byte, sec, frac int64) {
	le.PutUint64(b, uint64(sec))
	le.PutUint64(b[8:], uint64(frac))
}

// Int gives the int that a setsockopt value begins with.
func Int(val []byte) (int32, abi.Errno) {
	if len(val) < 4 {
		return 0, unix.EINVAL
	}
	return int32(le.Uint32(val)), 0
}

// IntOrByte is Int for the options of IPPROTO_IP that take one byte, too.
func IntOrByte(val []byte) (int32, abi.Errno) {
	switch {
	case len(val) >= 4:
		return int32(le.Uint32(val)), 0
	case len(val) >= 1:
		return int32(val[0]), 0
	}
	return 0, unix.EINVAL
}

// PutInt gives an int's bytes.
func PutInt(v int32) []byte { return le.AppendUint32(nil, uint32(v)) }

// PutBool gives an int's bytes, 0 or 1.
func PutBool(v bool) []byte {
	if v {
		return PutInt(1)
	}
	return PutInt(0)
}

var boolOptions = map[int]Flag{
	unix.SO_DEBUG:            FlagDebug,
	unix.SO_REUSEADDR:        FlagReuseAddr,
	unix.SO_REUSEPORT:        FlagReusePort,
	unix.SO_DONTROUTE:        FlagDontRoute,
	unix.SO_BROADCAST:        FlagBroadcast,
	unix.SO_KEEPALIVE:        FlagKeepAlive,
	unix.SO_OOBINLINE:        FlagOOBInline,
	unix.SO_NO_CHECK:         FlagNoCheck,
	unix.SO_RXQ_OVFL:         FlagRxqOvfl,
	unix.SO_SELECT_ERR_QUEUE: FlagSelectErrQueue,
	unix.SO_WIFI_STATUS:      FlagWifiStatus,
	unix.SO_NOFCS:            FlagNoFCS,
	unix.SO_RCVMARK:          FlagRcvMark,
	unix.SO_PASSCRED:         FlagPassCred,
	unix.SO_PASSPIDFD:        FlagPassPIDFD,
}

// unixOnly are the flags that only AF_UNIX (and netlink) sockets have.
const unixOnly = FlagPassPIDFD

// SetCommonOpt is setsockopt at level SOL_SOCKET for what needs no more than
// Common: socket(7).
func (o *Common) SetCommonOpt(c vfs.Caller, name int, val []byte) abi.Errno {
	switch name {
	case unix.SO_RCVTIMEO_OLD, unix.SO_RCVTIMEO_NEW:
		return setTimeo(&o.rcvTimeo, val)
	case unix.SO_SNDTIMEO_OLD, unix.SO_SNDTIMEO_NEW:
		return setTimeo(&o.sndTimeo, val)
	}
	if ok, e := o.setFilterOpt(c, name, val); ok {
		return e
	}
	v, e := Int(val)
	if e != 0 {
		return e
	}
	if f, ok := boolOptions[name]; ok {
		return o.setBool(c, f, v != 0)
	}
	return o.setIntOpt(c, name, v, val)
}

func (o *Common) setBool(c vfs.Caller, f Flag, on bool) abi.Errno {
	switch f {
	case FlagDebug:
		if on && !c.Creds().Capable(auth.CAP_NET_ADMIN) {
			return unix.EACCES
		}
	case FlagPassCred:
		if o.Family != unix.AF_UNIX && o.Family != unix.AF_NETLINK {
			return unix.EOPNOTSUPP
		}
	case FlagPassPIDFD:
		if o.Family != unix.AF_UNIX {
			return unix.EOPNOTSUPP
		}
	case FlagReusePort:
		if on && o.Family != unix.AF_INET && o.Family != unix.AF_INET6 {
			return unix.EOPNOTSUPP
		}
	}
	o.Set(f, on)
	return 0
}

func (o *Common) setIntOpt(c vfs.Caller, name int, v int32, val []byte) abi.Errno {
	creds := c.Creds()
	switch name {
	case unix.SO_TYPE, unix.SO_PROTOCOL, unix.SO_DOMAIN, unix.SO_ERROR, unix.SO_ACCEPTCONN,
		unix.SO_SNDLOWAT, unix.SO_PEERCRED, unix.SO_PEERNAME, unix.SO_PEERGROUPS, unix.SO_PEERPIDFD,
		unix.SO_COOKIE, unix.SO_MEMINFO, unix.SO_INCOMING_NAPI_ID, unix.SO_NETNS_COOKIE:
		return unix.ENOPROTOOPT
	case unix.SO_SNDBUF, unix.SO_SNDBUFFORCE:
		o.Set(FlagSndBufLock, true)
		return setBuf(&o.sndBuf, creds, v, name == unix.SO_SNDBUFFORCE, minSndBuf)
	case unix.SO_RCVBUF, unix.SO_RCVBUFFORCE:
		o.Set(FlagRcvBufLock, true)
		return setBuf(&o.rcvBuf, creds, v, name == unix.SO_RCVBUFFORCE, minRcvBuf)
	case unix.SO_PRIORITY:
		if (v < 0 || v > 6) && !creds.Capable(auth.CAP_NET_RAW) && !creds.Capable(auth.CAP_NET_ADMIN) {
			return unix.EPERM
		}
		o.priority.Store(v)
	case unix.SO_LINGER:
		if len(val) < 8 {
			return unix.EINVAL
		}
		o.lingerS.Store(int32(min(le.Uint32(val[4:]), math.MaxInt32)))
		o.Set(FlagLinger, v != 0)
	case unix.SO_BSDCOMPAT:
	case unix.SO_PASSSEC:
		if o.Family != unix.AF_UNIX {
			return unix.EOPNOTSUPP
		}
		o.Set(FlagPassSec, v != 0)
	case unix.SO_RCVLOWAT:
		switch {
		case v < 0:
			v = math.MaxInt32
		case v == 0:
			v = 1
		}
		o.rcvLowat.Store(v)
	case unix.SO_TIMESTAMP_OLD, unix.SO_TIMESTAMP_NEW:
		o.Set(FlagTimestamp, v != 0)
		o.Set(FlagTimestampNS, false)
	case unix.SO_TIMESTAMPNS_OLD, unix.SO_TIMESTAMPNS_NEW:
		o.Set(FlagTimestamp|FlagTimestampNS, v != 0)
	case unix.SO_MARK:
		if !creds.Capable(auth.CAP_NET_RAW) && !creds.Capable(auth.CAP_NET_ADMIN) {
			return unix.EPERM
		}
		o.mark.Store(uint32(v))
	case unix.SO_BUSY_POLL:
		switch {
		case v < 0:
			return unix.EINVAL
		case v > o.busyPoll.Load() && !creds.Capable(auth.CAP_NET_ADMIN):
			return unix.EPERM
		}
		o.busyPoll.Store(v)
	case unix.SO_PEEK_OFF:
		if o.Family != unix.AF_UNIX {
			return unix.EOPNOTSUPP
		}
		if v < -1 {
			return unix.EINVAL
		}
		o.peekOff.Store(v)
	case unix.SO_ZEROCOPY:
		return unix.EOPNOTSUPP // as for a family without zero-copy sends
	case unix.SO_INCOMING_CPU:
	default:
		return unix.ENOPROTOOPT
	}
	return 0
}

func setTimeo(p interface{ Store(int64) }, val []byte) abi.Errno {
	if len(val) < 16 {
		return unix.EINVAL
	}
	sec, usec := int64(le.Uint64(val)), int64(le.Uint64(val[8:]))
	switch {
	case usec < 0 || usec >= 1e6:
		return unix.EDOM
	case sec < 0:
		p.Store(1) // past at once
	case sec >= math.MaxInt64/1_000_000_000-1:
		p.Store(0)
	default:
		p.Store(sec*1e9 + usec*1e3)
	}
	return 0
}

func setBuf(p interface{ Store(int64) }, creds *auth.Creds, v int32, force bool, least int64) abi.Errno {
	n := int64(v)
	if force {
		if !creds.Capable(auth.CAP_NET_ADMIN) {
			return unix.EPERM
		}
		// Forced sizes stay bounded: the buffers are the sandbox's own memory.
		n = min(max(n, 0), 8*BufMax)
	} else if n = int64(uint32(v)); n > BufMax {
		n = BufMax
	}
	p.Store(max(2*n, least))
	return 0
}
