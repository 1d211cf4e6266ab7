package socket

import (
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"golang.org/x/sys/unix"
)

const (
	msgNoSignal = unix.MSG_NOSIGNAL
	errEPIPE    = unix.EPIPE
)

// Sizes of socket buffers (net.core.*mem_*; SOCK_MIN_* of net/sock.h).
const (
	BufDefault = 212992
	BufMax     = 212992
	minSndBuf  = 4608
	minRcvBuf  = 2304
)

// Flag is a boolean option of SOL_SOCKET.
type Flag uint32

// The flags, bits of Common.flags.
const (
	FlagDebug Flag = 1 << iota
	FlagReuseAddr
	FlagReusePort
	FlagDontRoute
	FlagBroadcast
	FlagKeepAlive
	FlagOOBInline
	FlagNoCheck
	FlagPassCred
	FlagPassSec
	FlagPassPIDFD
	FlagTimestamp
	FlagTimestampNS
	FlagRxqOvfl
	FlagZeroCopy
	FlagLinger
	FlagSelectErrQueue
	FlagWifiStatus
	FlagNoFCS
	FlagRcvMark
	FlagSndBufLock // SO_SNDBUF was set: no tuning
	FlagRcvBufLock
)

// Common is the state behind SOL_SOCKET's options. Families embed it.
type Common struct {
	Family, Type, Protocol int // constant
	// Ino is the socket's inode number, for /proc/net; Cookie is SO_COOKIE.
	Ino    uint64
	cookie uint64

	flags    atomic.Uint32
	sndBuf   atomic.Int64
	rcvBuf   atomic.Int64
	rcvTimeo atomic.Int64 // ns; 0: none
	sndTimeo atomic.Int64
	rcvLowat atomic.Int32
	priority atomic.Int32
	mark     atomic.Uint32
	lingerS  atomic.Int32
	busyPoll atomic.Int32
	peekOff  atomic.Int32
	tsFlags  atomic.Uint32
	filter   atomic.Pointer[filterState]
}

var lastCookie atomic.Uint64

// Init sets the defaults.
func (o *Common) Init(family, typ, protocol int) {
	o.Family, o.Type, o.Protocol = family, typ, protocol
	o.cookie = lastCookie.Add(1)
	o.sndBuf.Store(BufDefault)
	o.rcvBuf.Store(BufDefault)
	o.rcvLowat.Store(1)
	o.peekOff.Store(-1)
}

// Opts makes an embedded Common answer for Socket.
func (o *Common) Opts() *Common { return o }

// Has tells whether f is set.
func (o *Common) Has(f Flag) bool { return o.flags.Load()&uint32(f) != 0 }

// Set sets or clears f.
func (o *Common) Set(f Flag, on bool) {
	if on {
		o.flags.Or(uint32(f))
	} else {
		o.flags.And(^uint32(f))
	}
}

// SndBuf and RcvBuf are the sizes as getsockopt tells them.
func (o *Common) SndBuf() int64 { return o.sndBuf.Load() }
func (o *Common) RcvBuf() int64 { return o.rcvBuf.Load() }

// RcvLowat is SO_RCVLOWAT.
func (o *Common) RcvLowat() int { return int(o.rcvLowat.Load()) }

// Mark is SO_MARK.
func (o *Common) Mark() uint32 { return o.mark.Load() }

// Linger gives SO_LINGER's seconds, if it is on.
func (o *Common) Linger() (seconds int, on bool) {
	return int(o.lingerS.Load()), o.Has(FlagLinger)
}

// PeekOff is SO_PEEK_OFF, -1 if off.
func (o *Common) PeekOff() int { return int(o.peekOff.Load()) }

// MovePeekOff follows a read (forward false) or a peek, if SO_PEEK_OFF is on.
func (o *Common) MovePeekOff(n int, peek bool) {
	off := o.peekOff.Load()
	switch {
	case off < 0:
	case peek:
		o.peekOff.Store(off + int32(n))
	default:
		o.peekOff.Store(max(off-int32(n), 0))
	}
}

// RecvTimeout and SendTimeout give SO_RCVTIMEO and SO_SNDTIMEO in nanoseconds,
// 0 for none.
func (o *Common) RecvTimeout() int64 { return o.rcvTimeo.Load() }
func (o *Common) SendTimeout() int64 { return o.sndTimeo.Load() }

// Inherit copies to a socket that accept made what the listener had set.
func (o *Common) Inherit(from *Common) {
	o.flags.Store(from.flags.Load())
	o.sndBuf.Store(from.sndBuf.Load())
	o.rcvBuf.Store(from.rcvBuf.Load())
	o.rcvTimeo.Store(from.rcvTimeo.Load())
	o.sndTimeo.Store(from.sndTimeo.Load())
	o.rcvLowat.Store(from.rcvLowat.Load())
	o.priority.Store(from.priority.Load())
	o.mark.Store(from.mark.Load())
	o.lingerS.Store(from.lingerS.Load())
	o.busyPoll.Store(from.busyPoll.Load())
	o.filter.Store(from.filter.Load())
}

// Timestamps says whether a receiver wants the time of arrival.
func (o *Common) Timestamps() bool { return o.Has(FlagTimestamp | FlagTimestampNS) }

// PutTimestamp adds SO_TIMESTAMP's or SO_TIMESTAMPNS's control message for a
// message that arrived at ns (CLOCK_REALTIME).
func (o *Common) PutTimestamp(w *abi.CmsgWriter, ns int64) {
	var b [16]byte
	switch {
	case o.Has(FlagTimestampNS):
		putTimespec(b[:], ns/1e9, ns%1e9)
		w.Put(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, b[:])
	case o.Has(FlagTimestamp):
		putTimespec(b[:], ns/1e9, ns%1e9/1000)
		w.Put(unix.SOL_SOCKET, unix.SO_TIMESTAMP, b[:])
	}
}
