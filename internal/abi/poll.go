package abi

// Sizes of structures of waiting and of record locks.
const (
	PollFDSize     = 8
	EpollEventSize = 12
	TimespecSize   = 16
	TimevalSize    = 16
	ItimerspecSize = 32
	FlockSize      = 32
	OwnerExSize    = 8
)

// MaxSec is the largest count of seconds that nanoseconds in 64 bits hold.
const MaxSec = 9223372036

// Timespec decodes struct timespec into nanoseconds; ok is false if it is
// negative or its nanoseconds are out of range. Times past what 64 bits hold
// become the largest.
func Timespec(b []byte) (ns int64, ok bool) {
	sec, nsec := int64(le.Uint64(b)), le.Uint64(b[8:])
	if sec < 0 || nsec >= 1e9 {
		return 0, false
	}
	if sec >= MaxSec {
		return 1<<63 - 1, true
	}
	return sec*1e9 + int64(nsec), true
}

// PutTimespec encodes nanoseconds as struct timespec.
func PutTimespec(b []byte, ns int64) { putTime(b, ns) }

// Timeval decodes struct timeval into nanoseconds.
func Timeval(b []byte) (ns int64, ok bool) {
	sec, usec := int64(le.Uint64(b)), le.Uint64(b[8:])
	if sec < 0 || usec >= 1e6 {
		return 0, false
	}
	if sec >= MaxSec {
		return 1<<63 - 1, true
	}
	return sec*1e9 + int64(usec)*1e3, true
}

// PutTimeval encodes nanoseconds as struct timeval.
func PutTimeval(b []byte, ns int64) {
	sec, nsec := split(ns)
	le.PutUint64(b, uint64(sec))
	le.PutUint64(b[8:], uint64(nsec/1e3))
}

// Itimerspec decodes struct itimerspec.
func Itimerspec(b []byte) (interval, value int64, ok bool) {
	interval, ok1 := Timespec(b)
	value, ok2 := Timespec(b[16:])
	return interval, value, ok1 && ok2
}

// PutItimerspec encodes struct itimerspec.
func PutItimerspec(b []byte, interval, value int64) {
	putTime(b, interval)
	putTime(b[16:], value)
}

// Flock is struct flock (fcntl(2)).
type Flock struct {
	Type, Whence int16
	Start, Len   int64
	PID          int32
}

// Get decodes it.
func (f *Flock) Get(b *[FlockSize]byte) {
	f.Type, f.Whence = int16(le.Uint16(b[0:])), int16(le.Uint16(b[2:]))
	f.Start, f.Len = int64(le.Uint64(b[8:])), int64(le.Uint64(b[16:]))
	f.PID = int32(le.Uint32(b[24:]))
}

// Put encodes it, leaving padding as it was.
func (f *Flock) Put(b *[FlockSize]byte) {
	le.PutUint16(b[0:], uint16(f.Type))
	le.PutUint16(b[2:], uint16(f.Whence))
	le.PutUint64(b[8:], uint64(f.Start))
	le.PutUint64(b[16:], uint64(f.Len))
	le.PutUint32(b[24:], uint32(f.PID))
}

// EpollEvent decodes struct epoll_event, packed on x86-64.
func EpollEvent(b *[EpollEventSize]byte) (events uint32, data uint64) {
	return le.Uint32(b[0:]), le.Uint64(b[4:])
}
