package agent

import (
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// virtiofsd keeps a descriptor for each name that this kernel has looked at and
// not forgotten, and the kernel forgets for want of memory alone. A walk over
// more names than virtiofsd may have files open would fail with EMFILE: the agent
// has the kernel forget before that.

// forgetter watches the number of inodes, of which those of volumes are a part.
type forgetter struct {
	limit uint64 // of files that a virtiofsd may have open
	base  uint64 // inodes that were there before any volume
	floor uint64 // of more than that, those that were left by the last time
	count func() uint64
	drop  func(what string)
}

// What is written to drop_caches: names that nobody uses, or pages of files as
// well, which keep the inodes of files that were read.
const (
	dropNames = "2"
	dropAll   = "3"
)

// look drops what has become too much. What stays is in use, or no volume's: only
// what comes on top of it is a reason to drop again.
func (f *forgetter) look() {
	n := f.more()
	if n < f.limit/4*3 || n < f.floor+f.limit/4 {
		return
	}
	f.drop(dropNames)
	if f.more() > f.limit/2 {
		f.drop(dropAll)
	}
	f.floor = f.more()
}

// more is how many inodes there are beside those of the beginning.
func (f *forgetter) more() uint64 {
	n := f.count()
	f.base = min(f.base, n)
	return n - f.base
}

// pace is how long the fastest walk takes for a part of the limit.
func (f *forgetter) pace() time.Duration {
	const names = 100_000 // a second
	return min(max(time.Duration(f.limit)*time.Second/names, 100*time.Millisecond), 2*time.Second)
}

// forget watches for as long as the VM lives. limit is what the kernel's command
// line says; 0 is a host that has not said it.
func (a *Agent) forget() {
	if a.options.files == 0 {
		return
	}
	a.forgetOnce.Do(func() {
		fd, err := unix.Open("/proc/sys/fs/inode-nr", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			say("inode-nr: %v", err)
			return
		}
		f := &forgetter{
			limit: a.options.files, count: func() uint64 { return inodes(fd) },
			drop: func(what string) {
				if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte(what), 0); err != nil {
					say("drop_caches: %v", err)
				}
			},
		}
		f.base = f.count()
		go func() {
			for {
				time.Sleep(f.pace())
				f.look()
			}
		}()
	})
}

// inodes is the first number of proc(5)'s /proc/sys/fs/inode-nr.
func inodes(fd int) uint64 {
	var buf [64]byte
	n, err := unix.Pread(fd, buf[:], 0)
	if err != nil {
		return 0
	}
	text, _, _ := strings.Cut(string(buf[:n]), "\t")
	v, _ := strconv.ParseUint(text, 10, 64)
	return v
}
