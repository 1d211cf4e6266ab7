package guest

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"time"

	"golang.org/x/sys/unix"
)

// The key of a root file system is a hash over what lstat(2) says of every file
// in it, in the order of names: path, type and mode, owner, size, device
// number, and the times of change of content (mtime) and of anything (ctime).
//
// It is sound because the kernel sets ctime at every change of content, mode,
// owner, name, link count or attribute, and nobody can set it back without
// setting the clock. Inode and device numbers are left out, so that one image
// unpacked into many overlay mounts has one key. Two things are looked after:
//
//   - ctime has the resolution of a tick: a file that changed in the tick before
//     it was looked at could change again with the same ctime. When the newest
//     ctime is that young, the walk is done again after the tick.
//   - a tree that changes while its image is made: the walk is done again after
//     it, and the image thrown away if the key is another.
//
// What it cannot see: writes through a shared mapping that was dirty before the
// walk. A root belongs to its container's maker; nobody else writes there.

// tick is longer than a tick of any kernel (CONFIG_HZ=100), with room for how
// late clocks are read.
const tick = 25 * time.Millisecond

// ErrChanging says that a root file system does not hold still.
var ErrChanging = errors.New("changes while its image is made")

// maxFiles bounds a root; mkfs would take hours.
const maxFiles = 4 << 20

// walker makes the key of a tree. The directories are read with descriptors,
// so that a path of any length works and no symbolic link is followed.
type walker struct {
	key    *key
	newest int64 // ctime, nanoseconds
	files  int
	dev    uint64
}

// treeKey walks until the newest change lies a tick in the past.
func treeKey(root string, seed func(*key)) (string, error) {
	for range 200 {
		w := &walker{key: newKey("root", 1)}
		seed(w.key)
		before := time.Now()
		if err := w.root(root); err != nil {
			return "", err
		}
		if age := before.Sub(time.Unix(0, w.newest)); age > tick || age < -time.Hour { // or a clock that was set back
			return w.key.sum(), nil
		}
		time.Sleep(tick)
	}
	return "", fmt.Errorf("root %s: %w", root, ErrChanging)
}

func (w *walker) root(root string) error {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("root %s: %w", root, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return fmt.Errorf("root %s: %w", root, err)
	}
	w.dev = st.Dev
	w.add("", &st)
	if err := w.dir(fd, ""); err != nil {
		return fmt.Errorf("root %s: %w", root, err)
	}
	return nil
}

// dir walks one directory, and closes it.
func (w *walker) dir(fd int, path string) error {
	d := os.NewFile(uintptr(fd), path)
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	sort.Strings(names)
	var st unix.Stat_t
	for _, name := range names {
		if err := unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("%s/%s: %w", path, name, err)
		}
		if w.files++; w.files > maxFiles {
			return fmt.Errorf("has more than %d files", maxFiles)
		}
		w.add(name, &st)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		if st.Dev != w.dev {
			// Overlay file systems may give directories and files other
			// numbers; a mount below is walked as what it looks like.
			w.key.num(1)
		}
		sub, err := unix.Openat(fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("%s/%s: %w", path, name, err)
		}
		if err := w.dir(sub, path+"/"+name); err != nil {
			return err
		}
		w.key.text("/") // the directory's end
	}
	return nil
}

func (w *walker) add(name string, st *unix.Stat_t) {
	w.key.text(name)
	size := uint64(st.Size)
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		size = 0 // means nothing there
	}
	for _, n := range [...]uint64{uint64(st.Mode), uint64(st.Uid), uint64(st.Gid), size, st.Rdev, uint64(st.Mtim.Nano()), uint64(st.Ctim.Nano())} {
		w.key.num(n)
	}
	if c := st.Ctim.Nano(); c > w.newest {
		w.newest = c
	}
}
