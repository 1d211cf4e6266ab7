// Package sockettest has a caller and memory for the tests of sockets. It has
// no locks but Listener's.
package sockettest

import (
	"sync/atomic"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
	"golang.org/x/sys/unix"
)

// Caller is a vfs.Caller.
type Caller struct {
	K     *auth.Creds
	PID   int32
	Tree  *vfs.FSContext
	Pipes int // SIGPIPEs received
}

var _ vfs.Caller = (*Caller)(nil)

// Root is process 1 of the superuser.
func Root() *Caller { return &Caller{K: auth.Root(), PID: 1} }

// User is a process without capabilities.
func User(id uint32, pid int32) *Caller {
	return &Caller{K: &auth.Creds{UID: id, EUID: id, SUID: id, FSUID: id, GID: id, EGID: id, SGID: id, FSGID: id}, PID: pid}
}

func (c *Caller) Creds() *auth.Creds { return c.K }
func (c *Caller) Umask() uint32      { return 0022 }
func (c *Caller) TGID() int32        { return c.PID }
func (c *Caller) FSizeLimit() uint64 { return ^uint64(0) }
func (c *Caller) SignalXFSZ()        {}
func (c *Caller) SignalPipe()        { c.Pipes++ }

// FS is the caller's view of names.
func (c *Caller) FS() *vfs.FSContext { return c.Tree }

// Memory is a vfs.UserMemory whose addresses are indices, from 1 on.
type Memory []byte

func (m Memory) CopyIn(addr uint64, dst []byte) abi.Errno {
	if addr == 0 || addr > uint64(len(m)) || uint64(len(dst)) > uint64(len(m))-addr {
		return unix.EFAULT
	}
	copy(dst, m[addr:])
	return 0
}

func (m Memory) CopyOut(addr uint64, src []byte) abi.Errno {
	if addr == 0 || addr > uint64(len(m)) || uint64(len(src)) > uint64(len(m))-addr {
		return unix.EFAULT
	}
	copy(m[addr:], src)
	return 0
}

// Listener counts notifications, and waits for one.
type Listener struct {
	n  atomic.Int64
	ch chan struct{}
}

// NewListener gives a Listener that can Wait.
func NewListener() *Listener { return &Listener{ch: make(chan struct{}, 1)} }

// Notified is waiter.Listener's.
func (l *Listener) Notified(*waiter.Entry, uint32) {
	l.n.Add(1)
	select {
	case l.ch <- struct{}{}:
	default:
	}
}

// Wait waits for a notification since the last Wait.
func (l *Listener) Wait() { <-l.ch }

// Count is the number of notifications.
func (l *Listener) Count() int64 { return l.n.Load() }
