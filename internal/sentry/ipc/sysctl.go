package ipc

import (
	"bytes"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// number is one of a sysctl's, guarded by its table's mu.
type number struct {
	get      func() uint64
	set      func(uint64)
	low, top uint64
}

// sysctl is a file in /proc/sys/kernel (sysvipc(7)): numbers in a line.
type sysctl struct {
	mu      sync.Locker
	numbers []number
}

func intNumber(p *int, low, top int) number {
	return number{func() uint64 { return uint64(*p) }, func(v uint64) { *p = int(v) }, uint64(low), uint64(top)}
}

func longNumber(p *uint64) number {
	return number{func() uint64 { return *p }, func(v uint64) { *p = v }, 0, 1<<64 - 1}
}

func flag(p *bool) number {
	return number{func() uint64 {
		if *p {
			return 1
		}
		return 0
	}, func(v uint64) { *p = v != 0 }, 0, 1}
}

// maxIDs is IPCMNI: there is no place above.
const maxIDs = 1 << indexBits

// sysctl gives the file of that name, nil if there is none.
func (n *Namespace) sysctl(name string) *sysctl {
	shm, sem, msg := &n.Shm, &n.Sem, &n.Msg
	switch name {
	case "shmmax":
		return &sysctl{&shm.mu, []number{longNumber(&shm.max)}}
	case "shmall":
		return &sysctl{&shm.mu, []number{longNumber(&shm.all)}}
	case "shmmni":
		return &sysctl{&shm.mu, []number{intNumber(&shm.t.max, 0, maxIDs)}}
	case "shm_rmid_forced":
		return &sysctl{&shm.mu, []number{flag(&shm.forced)}}
	case "msgmax":
		return &sysctl{&msg.mu, []number{intNumber(&msg.max, 0, 1<<20)}}
	case "msgmnb":
		return &sysctl{&msg.mu, []number{intNumber(&msg.mnb, 0, 1<<24)}}
	case "msgmni":
		return &sysctl{&msg.mu, []number{intNumber(&msg.t.max, 0, maxIDs)}}
	case "sem":
		return &sysctl{&sem.mu, []number{
			intNumber(&sem.msl, 0, 1<<16), intNumber(&sem.mns, 0, 1<<31-1), intNumber(&sem.opm, 0, 1<<12), intNumber(&sem.t.max, 0, maxIDs),
		}}
	}
	return nil
}

func (s *sysctl) get() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var f []string
	for _, n := range s.numbers {
		f = append(f, strconv.FormatUint(n.get(), 10))
	}
	return strings.Join(f, "\t")
}

// set takes as many numbers as are given; the rest stay.
func (s *sysctl) set(data []byte) abi.Errno {
	given := strings.Fields(strings.TrimRight(string(data), "\x00"))
	if len(given) > len(s.numbers) {
		return unix.EINVAL
	}
	var v []uint64
	for i, g := range given {
		n, err := strconv.ParseUint(g, 10, 64)
		if err != nil || n < s.numbers[i].low || n > s.numbers[i].top {
			return unix.EINVAL
		}
		v = append(v, n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range v {
		s.numbers[i].set(v[i])
	}
	return 0
}

// publish shows the limits in /proc/sys/kernel.
func (n *Namespace) publish() {
	for _, name := range []string{"shmmax", "shmall", "shmmni", "shm_rmid_forced", "msgmax", "msgmnb", "msgmni", "sem"} {
		s := n.sysctl(name)
		inspect.Provide("sys/kernel/"+name, inspect.Content{
			Mode: 0644,
			Read: func(_ vfs.Caller, b *bytes.Buffer) abi.Errno {
				b.WriteString(s.get() + "\n")
				return 0
			},
			Write: func(_ vfs.Caller, data []byte) abi.Errno { return s.set(data) },
		})
	}
}
