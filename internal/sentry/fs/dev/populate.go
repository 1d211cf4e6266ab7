package dev

import (
	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Nodes are the device nodes that every /dev has (OCI's default devices).
var Nodes = []struct {
	Name         string
	Major, Minor uint32
	Mode         uint32
}{
	{"null", memMajor, nullMinor, 0666},
	{"zero", memMajor, zeroMinor, 0666},
	{"full", memMajor, fullMinor, 0666},
	{"random", memMajor, randomMinor, 0666},
	{"urandom", memMajor, urandomMinor, 0666},
	{"tty", ttyMajor, ttyMinor, 0666},
}

// Links are the symbolic links of every /dev.
var Links = []struct{ Name, Target string }{
	{"fd", "/proc/self/fd"},
	{"stdin", "/proc/self/fd/0"},
	{"stdout", "/proc/self/fd/1"},
	{"stderr", "/proc/self/fd/2"},
	{"ptmx", "pts/ptmx"},
}

// Dirs are what is mounted on in every /dev.
var Dirs = []struct {
	Name string
	Mode uint32
}{{"pts", 0755}, {"shm", 01777}, {"mqueue", 01777}}

// unmasked is a caller whose umask is 0, so that nodes get the modes they
// should have.
type unmasked struct{ vfs.Caller }

func (unmasked) Umask() uint32 { return 0 }

// Populate makes what is missing of nodes, links and directories in the
// directory dir (say, "dev") of a writable file system.
func Populate(c vfs.Caller, at vfs.At, dir string) abi.Errno {
	u := unmasked{c}
	for _, d := range Dirs {
		if e := tolerate(vfs.Mkdir(u, at, dir+"/"+d.Name, d.Mode)); e != 0 {
			return e
		}
	}
	for _, n := range Nodes {
		e := vfs.Mknod(u, at, dir+"/"+n.Name, unix.S_IFCHR|n.Mode, vfs.MakeDev(n.Major, n.Minor))
		if e = tolerate(e); e != 0 {
			return e
		}
	}
	for _, l := range Links {
		if e := tolerate(vfs.Symlink(u, l.Target, at, dir+"/"+l.Name)); e != 0 {
			return e
		}
	}
	return 0
}

func tolerate(e abi.Errno) abi.Errno {
	if e == unix.EEXIST {
		return 0
	}
	return e
}
