package vfs

import (
	"sync"
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/sentry/auth"
)

// Access modes of a description.
const (
	FMODE_READ  uint32 = 1
	FMODE_WRITE uint32 = 2
	FMODE_EXEC  uint32 = 4
	FMODE_PATH  uint32 = 8
)

// Path is a place in the tree of mounts.
type Path struct {
	Mount  *Mount
	Dentry *Dentry
}

// FileDescription is an open file description (open(2)): offset, status flags
// and the file behind them. It is counted by reference.
type FileDescription struct {
	refs  atomic.Int64
	flags atomic.Uint32 // status flags: O_APPEND, O_NONBLOCK, O_ASYNC, O_DIRECT, O_NOATIME … and the access mode
	Mode  uint32        // FMODE_*, constant
	Path  Path          // constant; files without a name have a pseudo dentry
	Impl  File          // constant once open

	// offMu guards off, and is held over reads and writes of seekable files.
	offMu sync.Mutex
	// readEnd is where a stub has read a directory to; 0: nowhere. It becomes off.
	readEnd atomic.Int64
	off     int64

	async atomic.Pointer[AsyncOwner]

	watchers releaseWatchers
	ID       uint64 // unique; identifies the description to kcmp, flock and epoll

	creds   *auth.Creds             // of who opened it; nil for files without a name; constant
	writes  bool                    // counted as a writer of its inode and mount; constant
	denies  bool                    // keeps writers out, until released; constant
	quiet   bool                    // failed to open: no events
	created bool                    // by its own open; constant once open
	locked  atomic.Bool             // may own OFD or flock locks
	lent    atomic.Bool             // it may be lent (Lender, BoxLender)
	shown   atomic.Pointer[FDTable] // whose stub may know flags and offset
	ctl     atomic.Pointer[CtlLoan] // of an epoll whose stub knows a descriptor of it
}

// AsyncOwner is F_SETOWN's and F_SETSIG's setting.
type AsyncOwner struct {
	Type   int32 // F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP
	ID     int32
	Signal int32
}

// Flags gives the status flags and the access mode, as F_GETFL does.
func (fd *FileDescription) Flags() uint32 { return fd.flags.Load() }
