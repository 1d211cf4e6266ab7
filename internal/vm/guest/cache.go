package guest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Cache is a directory of what was made. Nobody but its owner may write there,
// nor to the directories above: what is in it is booted.
//
//	KIND-KEY         an entry, whole
//	KIND-KEY.lock    held by who makes it
//	KIND-KEY.new.*   in the making; without its maker's lock it is litter
type Cache struct {
	dir string
}

// Entry is one file of the cache, open. While it is open it is not pruned;
// the hypervisor may be given File's descriptor, or Path before Close.
type Entry struct {
	Path string
	File *os.File
	Made bool // by this call
}

// Close lets the entry be pruned.
func (e *Entry) Close() error { return e.File.Close() }

// CacheDir is where the cache is: /var/cache/bulkhead for root, else as the XDG
// Base Directory Specification says.
func CacheDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/bulkhead", nil
	}
	base := os.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(base) {
		home := os.Getenv("HOME")
		if !filepath.IsAbs(home) {
			return "", errors.New("the VM's cache has no place: set XDG_CACHE_HOME or HOME")
		}
		base = filepath.Join(home, ".cache")
	}
	return filepath.Join(base, "bulkhead"), nil
}

// OpenCache makes sure of a cache's directory; "" is CacheDir's.
func OpenCache(dir string) (*Cache, error) {
	if dir == "" {
		var err error
		if dir, err = CacheDir(); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("the VM's cache: %w", err)
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("the VM's cache: %w", err)
	}
	if err := checkOwner(real); err != nil {
		return nil, err
	}
	return &Cache{dir: real}, nil
}

// checkOwner refuses a directory that somebody else could put files into, or
// put another one in the place of.
func checkOwner(dir string) error {
	me := uint32(os.Geteuid())
	for at := dir; ; at = filepath.Dir(at) {
		st, err := os.Lstat(at)
		if err != nil {
			return fmt.Errorf("the VM's cache: %w", err)
		}
		sys := st.Sys().(*syscall.Stat_t)
		switch {
		case !st.IsDir():
			return fmt.Errorf("the VM's cache: %s is no directory", at)
		case at == dir && sys.Uid != me:
			return fmt.Errorf("the VM's cache: %s belongs to uid %d, not to %d", at, sys.Uid, me)
		case sys.Uid != me && sys.Uid != 0 && !unmappedRoot(sys.Uid):
			return fmt.Errorf("the VM's cache: %s, above it, belongs to uid %d", at, sys.Uid)
		case sys.Mode&0o022 != 0 && (at == dir || sys.Mode&unix.S_ISVTX == 0):
			return fmt.Errorf("the VM's cache: others may write to %s (mode %#o): chmod go-w %s", at, sys.Mode&0o7777, at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}

// unmappedRoot says whether uid can be the host's root as a user namespace
// without it shows it (user_namespaces(7), "unmapped user IDs"). The file's
// owner may be any other that is not mapped; the user's own home is below.
func unmappedRoot(uid uint32) bool {
	const overflow = 65534
	if uid != overflow {
		return false
	}
	raw, err := os.ReadFile("/proc/self/uid_map")
	var inside, outside, size uint64
	if _, serr := fmt.Sscan(string(raw), &inside, &outside, &size); err != nil || serr != nil {
		return false
	}
	return size == 1 && outside != 0
}

// get finds an entry, or makes it. Two who want to make the same one wait for
// each other.
func (c *Cache) get(kind, key string, make func(*os.File) error) (*Entry, error) {
	name := filepath.Join(c.dir, kind+"-"+key)
	if e, err := open(name); e != nil || err != nil {
		return e, err
	}
	lock, err := c.lock(name)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if e, err := open(name); e != nil || err != nil { // somebody was quicker
		return e, err
	}
	tmp, err := os.CreateTemp(c.dir, filepath.Base(name)+".new.")
	if err != nil {
		return nil, fmt.Errorf("the VM's cache: %w", err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if err := make(tmp); err != nil {
		return nil, err
	}
	// What makes an image may have put another file in its place.
	if err := os.Chmod(tmp.Name(), 0o400); err != nil {
		return nil, fmt.Errorf("the VM's cache: %w", err)
	}
	if err := os.Rename(tmp.Name(), name); err != nil {
		return nil, fmt.Errorf("the VM's cache: %w", err)
	}
	e, err := open(name)
	if e == nil && err == nil {
		err = fmt.Errorf("the VM's cache: %s was taken away as it was made", name)
	}
	if err != nil {
		return nil, err
	}
	e.Made = true
	c.prune(time.Now(), c.room()) // at no other time: what is found is found at once
	return e, nil
}

// open gives an entry that is there, else nil. It holds the shared lock and
// looks again, because pruning may have come between.
func open(name string) (*Entry, error) {
	for {
		f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("the VM's cache: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_SH); err != nil {
			f.Close()
			return nil, fmt.Errorf("the VM's cache: lock of %s: %w", name, err)
		}
		var have, there unix.Stat_t
		err = unix.Fstat(int(f.Fd()), &have)
		if err == nil && unix.Lstat(name, &there) == nil && have.Ino == there.Ino && have.Dev == there.Dev {
			now := time.Now()
			_ = os.Chtimes(name, now, time.Time{}) // atime is the last use
			return &Entry{Path: name, File: f}, nil
		}
		f.Close()
	}
}

func (c *Cache) lock(name string) (*os.File, error) {
	for {
		f, err := os.OpenFile(name+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, fmt.Errorf("the VM's cache: %w", err)
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			f.Close()
			return nil, fmt.Errorf("the VM's cache: lock of %s: %w", name, err)
		}
		var have, there unix.Stat_t
		if unix.Fstat(int(f.Fd()), &have) == nil && unix.Lstat(f.Name(), &there) == nil && have.Ino == there.Ino {
			return f, nil
		}
		f.Close()
	}
}

// key gathers what an entry is made from.
type key struct{ h hash.Hash }

func newKey(kind string, version uint32) *key {
	k := &key{sha256.New()}
	k.text(kind)
	k.num(uint64(version))
	return k
}

func (k *key) num(n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	k.h.Write(b[:])
}

func (k *key) text(s string) {
	k.num(uint64(len(s)))
	k.h.Write([]byte(s))
}

// file adds a file without reading it: a change of its bytes changes its ctime,
// which nobody can set, and another file in its place has another inode.
func (k *key) file(path string, info os.FileInfo) {
	st := info.Sys().(*syscall.Stat_t)
	k.text(path)
	for _, n := range []uint64{st.Dev, st.Ino, uint64(st.Size), uint64(st.Mtim.Nano()), uint64(st.Ctim.Nano())} {
		k.num(n)
	}
}

// keyDigits are a key's hexadecimal digits.
const keyDigits = 40

func (k *key) sum() string { return hex.EncodeToString(k.h.Sum(nil))[:keyDigits] }

// Limits of what prune leaves.
const (
	keepBytes = 4 << 30 // at least, and a tenth of the file system
	keepAge   = 14 * 24 * time.Hour
	keepLeast = time.Hour // an entry used since is kept whatever the size
)

// room is how many bytes the cache may have.
func (c *Cache) room() int64 {
	var st unix.Statfs_t
	if unix.Statfs(c.dir, &st) != nil {
		return keepBytes
	}
	return max(keepBytes, int64(st.Blocks)*st.Bsize/10)
}

// prune takes away what was not used for two weeks, the longest unused beyond
// the limit, and what makers that have died left. What is in use stays, and so
// does what is no entry. What cannot be taken away is tried again the next time.
func (c *Cache) prune(now time.Time, limit int64) {
	list, err := os.ReadDir(c.dir)
	if err != nil {
		return
	}
	var entries []cached
	var total int64
	for _, d := range list {
		info, err := d.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		name := filepath.Join(c.dir, d.Name())
		if base, _, ok := strings.Cut(name, ".new."); ok {
			c.pruneLocked(base, name)
			continue
		}
		if base, ok := strings.CutSuffix(name, ".lock"); ok {
			if _, err := os.Lstat(base); errors.Is(err, fs.ErrNotExist) {
				c.pruneLocked(base, name)
			}
			continue
		}
		if i := strings.LastIndexByte(name, '-'); len(name)-i-1 != keyDigits {
			continue
		}
		st := info.Sys().(*syscall.Stat_t)
		entries = append(entries, cached{name, st.Blocks * 512, time.Unix(st.Atim.Unix())})
		total += st.Blocks * 512
	}
	sortOldest(entries)
	for _, e := range entries {
		age := now.Sub(e.used)
		if age > keepAge || total > limit && age > keepLeast {
			if c.pruneEntry(e.name) {
				total -= e.size
			}
		}
	}
}

type cached struct {
	name string
	size int64
	used time.Time
}

func sortOldest(list []cached) {
	for i := 1; i < len(list); i++ {
		for j := i; j > 0 && list[j].used.Before(list[j-1].used); j-- {
			list[j], list[j-1] = list[j-1], list[j]
		}
	}
}

// pruneLocked removes a file if nobody holds the lock of the entry's making.
func (c *Cache) pruneLocked(base, name string) {
	f, err := os.OpenFile(base+".lock", os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return
	}
	_ = os.Remove(name)
	_ = os.Remove(base + ".lock")
}

// pruneEntry removes an entry that nobody has open.
func (c *Cache) pruneEntry(name string) bool {
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false
	}
	return os.Remove(name) == nil
}
