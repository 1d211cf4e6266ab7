package ipc

import (
	"bytes"
	"fmt"

	"bulkhead.dev/bulkhead/internal/sentry/fs/tmpfs"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
)

// Namespace has a sandbox's System V objects.
type Namespace struct {
	Shm Shm
	Sem Sem
	Msg Msg
}

// New makes an empty namespace.
func New() *Namespace {
	n := &Namespace{}
	n.Shm.NewFile = tmpfs.NewSysV
	n.Shm.max, n.Shm.all, n.Shm.t.max = shmMax, shmMax, shmMNI
	n.Sem.msl, n.Sem.mns, n.Sem.opm, n.Sem.t.max = semMSL, semMNS, semOPM, semMNI
	n.Msg.max, n.Msg.mnb, n.Msg.t.max = msgMax, msgMNB, msgMNI
	return n
}

// Default is the sandbox's namespace.
var Default = New()

func init() {
	inspect.ProvideText("sysvipc/shm", Default.Shm.list)
	inspect.ProvideText("sysvipc/sem", Default.Sem.list)
	inspect.ProvideText("sysvipc/msg", Default.Msg.list)
	Default.publish()
}

// list is /proc/sysvipc/shm.
func (s *Shm) list(b *bytes.Buffer) {
	b.WriteString("       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid      atime      dtime      ctime                   rss                  swap\n")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.each(func(o *Segment) {
		fmt.Fprintf(b, "%10d %10d  %4o %21d %5d %5d  %5d %5d %5d %5d %5d %10d %10d %10d %21d %21d\n", o.key, o.id, o.mode, o.size,
			o.cpid, o.lpid, o.attached, o.uid, o.gid, o.cuid, o.cgid, o.atime, o.dtime, o.ctime, 0, 0)
	})
}

// list is /proc/sysvipc/sem.
func (s *Sem) list(b *bytes.Buffer) {
	b.WriteString("       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.each(func(o *Set) {
		fmt.Fprintf(b, "%10d %10d  %4o %10d %5d %5d %5d %5d %10d %10d\n", o.key, o.id, o.mode, len(o.sems), o.uid, o.gid, o.cuid, o.cgid, o.otime, o.ctime)
	})
}

// list is /proc/sysvipc/msg.
func (s *Msg) list(b *bytes.Buffer) {
	b.WriteString("       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid      stime      rtime      ctime\n")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.t.each(func(q *Queue) {
		fmt.Fprintf(b, "%10d %10d  %4o  %10d %10d %5d %5d %5d %5d %5d %5d %10d %10d %10d\n", q.key, q.id, q.mode, q.bytes, len(q.messages),
			q.lspid, q.lrpid, q.uid, q.gid, q.cuid, q.cgid, q.stime, q.rtime, q.ctime)
	})
}
