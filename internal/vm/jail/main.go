package jail

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// Main is the program of `bulkhead-vmm jail`. It returns only if it fails.
func Main(args []string) int {
	runtime.LockOSThread()
	fs := flag.NewFlagSet("jail", flag.ContinueOnError)
	fd := fs.Int("spec-fd", -1, "")
	if err := fs.Parse(args); err != nil {
		return 125
	}
	if err := enter(*fd); err != nil {
		fmt.Fprintln(os.Stderr, "bulkhead: jail:", err)
	}
	return 125
}

func enter(fd int) error {
	// A child of a monitor without a PID namespace must not outlive it.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return err
	}
	f := os.NewFile(uintptr(fd), "specification")
	raw, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return fmt.Errorf("specification: %w", err)
	}
	f.Close()
	var s Spec
	if err := json.Unmarshal(raw, &s); err != nil {
		return fmt.Errorf("specification: %w", err)
	}
	if err := s.check(); err != nil {
		return err
	}
	// Nothing but what the monitor passed on purpose.
	if err := unix.CloseRange(uint(fd), 1<<32-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return fmt.Errorf("close_range: %w", err)
	}
	if len(s.Binds) > 0 {
		if err := s.makeRoot(); err != nil {
			return err
		}
	}
	if s.NoFile > 0 {
		raiseNoFile(s.NoFile)
	}
	if err := s.dropRights(); err != nil {
		return err
	}
	if s.Memory {
		if err := installMemoryFilter(); err != nil {
			return err
		}
	}
	if err := s.Filter.install(); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", s.Argv[0], syscall.Exec(s.Argv[0], s.Argv, []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}))
}

// place is a detached mount that will become part of the new root.
type place struct {
	Bind
	tree int
	dir  bool
}

// makeRoot puts this process into a root of its own.
func (s *Spec) makeRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making / private: %w", err)
	}
	places, err := s.openBinds()
	if err != nil {
		return err
	}
	const base = "/tmp"
	if err := unix.Mount("bulkhead", base, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755,size=1m"); err != nil {
		return fmt.Errorf("root of the jail: %w", err)
	}
	for _, p := range places {
		if err := p.attach(base); err != nil {
			return fmt.Errorf("%s: %w", p.Source, err)
		}
	}
	for _, d := range s.Dirs {
		if err := os.MkdirAll(base+d, 0o755); err != nil {
			return err
		}
	}
	if s.Proc {
		if err := mountProc(base + "/proc"); err != nil {
			return err
		}
	}
	if err := unix.Chdir(base); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the host's root: %w", err)
	}
	if err := unix.Chdir("/"); err != nil {
		return err
	}
	return unix.Mount("", "/", "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, "")
}

func (s *Spec) openBinds() ([]place, error) {
	var out []place
	for _, b := range s.Binds {
		fd, err := unix.OpenTree(unix.AT_FDCWD, b.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
		if err == unix.ENOENT && b.Optional {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open_tree %s: %w", b.Source, err)
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return nil, fmt.Errorf("%s: %w", b.Source, err)
		}
		attr := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID}
		if !b.Writable {
			attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
		}
		if !b.Device {
			attr.Attr_set |= unix.MOUNT_ATTR_NODEV
		}
		if err := unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, attr); err != nil {
			return nil, fmt.Errorf("mount_setattr %s: %w", b.Source, err)
		}
		out = append(out, place{b, fd, st.Mode&unix.S_IFMT == unix.S_IFDIR})
	}
	return out, nil
}

func (p *place) attach(base string) error {
	defer unix.Close(p.tree)
	at := base + filepath.Clean(p.Dest)
	if p.dir {
		if err := os.MkdirAll(at, 0o755); err != nil {
			return err
		}
	} else {
		if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
			return err
		}
		f, err := os.OpenFile(at, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return err
		}
		f.Close()
	}
	if err := unix.MoveMount(p.tree, "", unix.AT_FDCWD, at, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("move_mount to %s: %w", p.Dest, err)
	}
	for _, h := range p.Hide {
		dir := filepath.Join(at, h)
		var st unix.Stat_t
		if unix.Lstat(dir, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
			continue
		}
		const empty = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_RDONLY
		if err := unix.Mount("empty", dir, "tmpfs", empty, "size=4k,mode=555"); err != nil {
			return fmt.Errorf("hiding %s: %w", h, err)
		}
	}
	return nil
}

func mountProc(at string) error {
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	const safe = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("proc", at, "proc", safe, ""); err == nil {
		return nil
	}
	// Where part of /proc is hidden, a new one may not be mounted.
	if err := unix.Mount("/proc", at, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("/proc of the jail: %w", err)
	}
	return nil
}

func raiseNoFile(n uint64) {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return
	}
	lim.Cur = min(n, lim.Max)
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &lim)
}

// dropRights gives up what the helper does not need.
func (s *Spec) dropRights() error {
	if err := dropBounding(s.Caps); err != nil {
		return err
	}
	if s.UID != 0 {
		if err := unix.Setgroups(s.Groups); err != nil {
			return fmt.Errorf("setgroups: %w", err)
		}
		if err := unix.Setresgid(s.GID, s.GID, s.GID); err != nil {
			return fmt.Errorf("setgid %d: %w", s.GID, err)
		}
		if err := unix.Setresuid(s.UID, s.UID, s.UID); err != nil {
			return fmt.Errorf("setuid %d: %w", s.UID, err)
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	// A change of uid clears it.
	return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)
}

// dropBounding limits what root may still do after the execve, which gives it
// the bounding set.
func dropBounding(keep uint64) error {
	for c := 0; c < 64; c++ {
		if keep&(1<<c) != 0 {
			continue
		}
		switch err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err {
		case nil:
		case unix.EINVAL: // the kernel has no more
			return nil
		case unix.EPERM: // an ordinary user, who has none to lose
			return nil
		default:
			return fmt.Errorf("dropping capability %d: %w", c, err)
		}
	}
	return nil
}
