package syscalls

import (
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"

	"golang.org/x/sys/unix"
)

// Events of F_NOTIFY.
const (
	dnAccess    = 0x1
	dnModify    = 0x2
	dnCreate    = 0x4
	dnDelete    = 0x8
	dnRename    = 0x10
	dnAttrib    = 0x20
	dnMultishot = 0x80000000
)

// dirNotice is F_NOTIFY's watch of a directory: fcntl(2), "File and directory
// change notification". It sends the descriptor's owner a signal.
type dirNotice struct {
	fd    *vfs.FileDescription // not counted: DescriptionGone ends this
	num   int32
	k     *kernel.Kernel
	uid   uint32
	euid  uint32
	multi bool
	watch *vfs.Watch
}

var (
	noticeMu sync.Mutex
	notices  = map[*vfs.FileDescription]*dirNotice{} // under noticeMu
)

// noticeEvents turns DN_* into IN_*.
func noticeEvents(dn uint32) (in uint32) {
	for _, p := range [...][2]uint32{
		{dnAccess, unix.IN_ACCESS}, {dnModify, unix.IN_MODIFY}, {dnCreate, unix.IN_CREATE | unix.IN_MOVED_TO},
		{dnDelete, unix.IN_DELETE | unix.IN_MOVED_FROM}, {dnRename, unix.IN_MOVED_FROM | unix.IN_MOVED_TO}, {dnAttrib, unix.IN_ATTRIB},
	} {
		if dn&p[0] != 0 {
			in |= p[1]
		}
	}
	return in
}

// setNotice is F_NOTIFY; no event at all takes the watch away.
func setNotice(t *kernel.Task, num int32, fd *vfs.FileDescription, dn uint32) abi.Errno {
	if fileType(fd) != unix.S_IFDIR {
		return unix.ENOTDIR
	}
	noticeMu.Lock()
	defer noticeMu.Unlock()
	old := notices[fd]
	mask := noticeEvents(dn)
	if mask == 0 {
		if old != nil {
			old.end()
			fd.Unwatch(old)
		}
		return 0
	}
	if o := fd.Async(); o == nil || o.ID == 0 {
		n := vfs.AsyncOwner{Type: ownerPID, ID: t.TGID()}
		if o != nil {
			n.Signal = o.Signal
		}
		fd.SetAsync(&n)
	}
	if old != nil {
		old.multi = dn&dnMultishot != 0
		old.watch.SetMask(old.watch.Mask() | mask)
		return 0
	}
	n := &dirNotice{fd: fd, num: num, k: t.Kernel(), uid: t.Creds().UID, euid: t.Creds().EUID, multi: dn&dnMultishot != 0}
	n.watch = vfs.AddWatch(fd.Inode(), n, 0, mask)
	notices[fd] = n
	fd.Watch(n)
	return 0
}

// end runs under noticeMu.
func (n *dirNotice) end() {
	delete(notices, n.fd)
	n.watch.Remove()
}

// DescriptionGone is vfs.ReleaseWatcher's.
func (n *dirNotice) DescriptionGone(fd *vfs.FileDescription) {
	noticeMu.Lock()
	defer noticeMu.Unlock()
	if notices[fd] == n {
		n.end()
	}
}

// WatchEvent is vfs.Watcher's: it may not call back, so that a goroutine goes on.
func (n *dirNotice) WatchEvent(_ *vfs.Watch, mask, _ uint32, _ string) {
	if mask&unix.IN_IGNORED == 0 {
		go n.send()
	}
}

// send tells the owner; without DN_MULTISHOT the watch ends with the first event.
func (n *dirNotice) send() {
	noticeMu.Lock()
	live := notices[n.fd] == n
	if live && !n.multi {
		n.end()
		n.fd.Unwatch(n)
	}
	o := n.fd.Async()
	noticeMu.Unlock()
	if !live || o == nil || o.ID == 0 {
		return
	}
	info := kernel.KernelInfo(kernel.SIGIO, kernel.SI_KERNEL, 0, 0)
	if o.Signal != 0 {
		info = kernel.PollInfo(o.Signal, kernel.POLL_MSG, waiterMsg, n.num)
	}
	n.k.SendOwner(o.Type, o.ID, n.uid, n.euid, info)
}

// waiterMsg is si_band for POLL_MSG.
const waiterMsg = 0x400 // POLLMSG
