package socket

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"golang.org/x/sys/unix"
)

// GetCommonOpt is getsockopt at level SOL_SOCKET for what Common knows.
func (o *Common) GetCommonOpt(name int) ([]byte, abi.Errno) {
	if f, ok := boolOptions[name]; ok {
		if f == FlagPassPIDFD && o.Family != unix.AF_UNIX {
			return nil, unix.EOPNOTSUPP
		}
		if f == FlagPassCred && o.Family != unix.AF_UNIX && o.Family != unix.AF_NETLINK {
			return nil, unix.EOPNOTSUPP
		}
		return PutBool(o.Has(f)), 0
	}
	switch name {
	case unix.SO_TYPE:
		return PutInt(int32(o.Type)), 0
	case unix.SO_PROTOCOL:
		return PutInt(int32(o.Protocol)), 0
	case unix.SO_DOMAIN:
		return PutInt(int32(o.Family)), 0
	case unix.SO_SNDBUF:
		return PutInt(int32(o.sndBuf.Load())), 0
	case unix.SO_RCVBUF:
		return PutInt(int32(o.rcvBuf.Load())), 0
	case unix.SO_PRIORITY:
		return PutInt(o.priority.Load()), 0
	case unix.SO_LINGER:
		return append(PutBool(o.Has(FlagLinger)), PutInt(o.lingerS.Load())...), 0
	case unix.SO_BSDCOMPAT:
		return PutInt(0), 0
	case unix.SO_PASSSEC:
		if o.Family != unix.AF_UNIX {
			return nil, unix.EOPNOTSUPP
		}
		return PutBool(o.Has(FlagPassSec)), 0
	case unix.SO_RCVLOWAT:
		return PutInt(o.rcvLowat.Load()), 0
	case unix.SO_SNDLOWAT:
		return PutInt(1), 0
	case unix.SO_RCVTIMEO_OLD, unix.SO_RCVTIMEO_NEW:
		return getTimeo(o.rcvTimeo.Load()), 0
	case unix.SO_SNDTIMEO_OLD, unix.SO_SNDTIMEO_NEW:
		return getTimeo(o.sndTimeo.Load()), 0
	case unix.SO_TIMESTAMP_OLD, unix.SO_TIMESTAMP_NEW:
		return PutBool(o.Has(FlagTimestamp) && !o.Has(FlagTimestampNS)), 0
	case unix.SO_TIMESTAMPNS_OLD, unix.SO_TIMESTAMPNS_NEW:
		return PutBool(o.Has(FlagTimestampNS)), 0
	case unix.SO_TIMESTAMPING_OLD:
		return PutInt(0), 0
	case unix.SO_MARK:
		return PutInt(int32(o.mark.Load())), 0
	case unix.SO_BUSY_POLL:
		return PutInt(o.busyPoll.Load()), 0
	case unix.SO_PEEK_OFF:
		if o.Family != unix.AF_UNIX {
			return nil, unix.EOPNOTSUPP
		}
		return PutInt(o.peekOff.Load()), 0
	case unix.SO_COOKIE:
		return le.AppendUint64(nil, o.cookie), 0
	case unix.SO_INCOMING_CPU:
		return PutInt(0), 0
	case unix.SO_LOCK_FILTER:
		f := o.filter.Load()
		return PutBool(f != nil && f.lock), 0
	case unix.SO_ZEROCOPY, unix.SO_INCOMING_NAPI_ID:
		return PutInt(0), 0
	case unix.SO_GET_FILTER:
		if o.FilterLen() > 0 {
			return nil, unix.EACCES // as one that is not kept in its first form
		}
		return nil, 0
	case unix.SO_PEERSEC:
		return nil, unix.ENOPROTOOPT // no security module
	}
	return nil, unix.ENOPROTOOPT
}

func getTimeo(ns int64) []byte {
	b := make([]byte, 16)
	if ns > 0 {
		putTimespec(b, ns/1e9, ns%1e9/1000)
	}
	return b
}
