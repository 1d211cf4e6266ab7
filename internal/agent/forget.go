package agent

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// virtiofsd keeps a descriptor for each name that this kernel has looked at and
// not forgotten, and the kernel forgets for want of memory alone. A walk over
// more names than virtiofsd may have files open would fail with EMFILE: the agent
// has the kernel forget before that. Names of images cost nobody a descriptor, and
// are not counted.

// forgetter watches the number of the volumes' inodes.
type forgetter struct {
	limit uint64 // of files that a virtiofsd may have open
	floor uint64 // the fewest since the last drop: they are in use
	count func() uint64
	drop  func()
}

// look drops what has become too much. What stays is in use: only what comes on
// top of it is a reason to drop again.
func (f *forgetter) look() {
	n := f.count()
	f.floor = min(f.floor, n)
	if n < f.limit/2 || n < f.floor+f.limit/4 {
		return
	}
	f.drop()
	f.floor = f.count() // less in a moment: the kernel frees later
}

// pace is how long the fastest walk takes for a part of the limit.
func (f *forgetter) pace() time.Duration {
	const names = 100_000 // a second
	return min(max(time.Duration(f.limit)*time.Second/names, 50*time.Millisecond), 2*time.Second)
}

// forget watches for as long as the VM lives. limit is what the kernel's command
// line says; 0 is a host that has not said it.
func (a *Agent) forget() {
	if a.options.files == 0 {
		return
	}
	a.forgetOnce.Do(func() {
		count, err := volumeInodes()
		if err != nil {
			say("names of volumes: %v", err)
			return
		}
		f := &forgetter{limit: a.options.files, count: count, drop: dropNames}
		go func() {
			for {
				time.Sleep(f.pace())
				f.look()
			}
		}()
	})
}

// dropNames has the kernel forget the names that nobody uses. FUSE keeps no inode
// without a name, be its pages cached.
func dropNames() {
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0); err != nil {
		say("drop_caches: %v", err)
	}
}

// volumeInodes gives a counter of FUSE's inodes, of which the module is loaded. A
// kernel that does not tell what its caches hold has all inodes counted that come
// on top of today's.
func volumeInodes() (func() uint64, error) {
	if fd, err := unix.Open("/proc/slabinfo", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		if _, ok := slabObjects(fd, "fuse_inode"); ok {
			return func() uint64 { n, _ := slabObjects(fd, "fuse_inode"); return n }, nil
		}
		unix.Close(fd)
	}
	fd, err := unix.Open("/proc/sys/fs/inode-nr", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return since(func() uint64 { return firstNumber(fd) }), nil
}

// slabObjects gives how many objects of one of the kernel's caches are in use
// (slabinfo(5)), and whether there is such a cache.
func slabObjects(fd int, cache string) (uint64, bool) {
	var text []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Pread(fd, buf, int64(len(text)))
		if err != nil || n <= 0 {
			break
		}
		text = append(text, buf[:n]...)
	}
	for line := range bytes.Lines(text) {
		rest, ok := bytes.CutPrefix(line, []byte(cache+" "))
		if f := bytes.Fields(rest); ok && len(f) > 0 {
			n, err := strconv.ParseUint(string(f[0]), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// since counts what comes on top of the least that was ever there.
func since(count func() uint64) func() uint64 {
	base := count()
	return func() uint64 {
		n := count()
		base = min(base, n)
		return n - base
	}
}

// firstNumber is what such a file begins with; 0 if it cannot be read.
func firstNumber(fd int) uint64 {
	var buf [128]byte
	n, err := unix.Pread(fd, buf[:], 0)
	if err != nil {
		return 0
	}
	f := strings.Fields(string(buf[:n]))
	if len(f) == 0 {
		return 0
	}
	v, _ := strconv.ParseUint(f[0], 10, 64)
	return v
}
