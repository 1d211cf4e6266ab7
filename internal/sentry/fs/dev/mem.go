package dev

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Device numbers of the memory devices.
const (
	memMajor     = 1
	nullMinor    = 3
	zeroMinor    = 5
	fullMinor    = 7
	randomMinor  = 8
	urandomMinor = 9
)

// device is what the files here have in common: lseek(2) gives 0, and pread(2)
// works at any offset (vfs.AnyOffset).
type device struct{ vfs.FileDefaults }

func (device) SeekStaysPut() {}
func (device) AnyOffset()    {}

// sink are the devices that take what is written and need not see it.
type sink struct{ device }

// DiscardsWrites spares the writing call the copying of what is written.
func (sink) DiscardsWrites() {}

func (sink) Write(_ vfs.Caller, _ *vfs.FileDescription, src []byte, _ int64) (int, int64, abi.Errno) {
	return len(src), 0, 0
}

// null is /dev/null.
type null struct{ sink }

func (null) Read(vfs.Caller, *vfs.FileDescription, []byte, int64) (int, abi.Errno) { return 0, 0 }

// DiscardsWrites marks a file whose writes need no data: write(2) does not
// fetch it.
func (null) DiscardsWrites() {}

// zeros is a source of them.
type zeros struct{ device }

func (zeros) Read(_ vfs.Caller, _ *vfs.FileDescription, dst []byte, _ int64) (int, abi.Errno) {
	clear(dst)
	return len(dst), 0
}

// zero is /dev/zero.
type zero struct{ sink }

func (zero) Read(_ vfs.Caller, _ *vfs.FileDescription, dst []byte, _ int64) (int, abi.Errno) {
	clear(dst)
	return len(dst), 0
}

// Map gives anonymous memory, shared or private.
func (zero) Map(vfs.Caller, *vfs.FileDescription, int64, int64, uint32, bool) (vfs.Mapping, abi.Errno) {
	return vfs.Mapping{Anonymous: true}, 0
}

// full is /dev/full.
type full struct{ zeros }

func (full) Write(vfs.Caller, *vfs.FileDescription, []byte, int64) (int, int64, abi.Errno) {
	return 0, 0, unix.ENOSPC
}

// random is /dev/random and /dev/urandom: the host's random numbers.
type random struct{ device }

// Requests of random(4).
const (
	rndgetentcnt   = 0x80045200
	rndaddtoentcnt = 0x40045201
	rndclearpool   = 0x5206
	rndreseedcrng  = 0x5207
	poolBits       = 256
)

func (random) Read(_ vfs.Caller, _ *vfs.FileDescription, dst []byte, _ int64) (int, abi.Errno) {
	done := 0
	for done < len(dst) {
		n, err := unix.Getrandom(dst[done:min(len(dst), done+4096)], 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return done, unix.EIO
		}
		done += n
	}
	return done, 0
}

// Write takes what the guest thinks is random; the host needs none of it.
func (random) Write(_ vfs.Caller, _ *vfs.FileDescription, src []byte, _ int64) (int, int64, abi.Errno) {
	return len(src), 0, 0
}

func (random) Ioctl(c vfs.Caller, _ *vfs.FileDescription, cmd uint32, arg uint64, mem vfs.UserMemory) (uint64, abi.Errno) {
	switch cmd {
	case rndgetentcnt:
		return 0, mem.CopyOut(arg, []byte{byte(poolBits & 0xff), byte(poolBits >> 8), 0, 0})
	case rndaddtoentcnt, rndclearpool, rndreseedcrng:
		if !c.Creds().Capable(auth.CAP_SYS_ADMIN) {
			return 0, unix.EPERM
		}
		return 0, 0
	}
	return 0, abi.ENOIOCTLCMD
}

func init() {
	always := func(f vfs.File) vfs.DeviceOpener {
		return func(vfs.Caller, *vfs.FileDescription, vfs.Inode) (vfs.File, abi.Errno) { return f, 0 }
	}
	for minor, f := range map[uint32]vfs.File{
		nullMinor: null{}, zeroMinor: zero{}, fullMinor: full{}, randomMinor: random{}, urandomMinor: random{},
	} {
		vfs.RegisterDevice(unix.S_IFCHR, memMajor, minor, 1, always(f))
	}
}
