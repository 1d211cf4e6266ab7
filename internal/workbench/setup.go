package workbench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/workbench/drive"
	"bulkhead.dev/bulkhead/internal/workbench/guest"
	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

func lockThread() { runtime.LockOSThread() }

// site is the workbench's place on the disk for one measurement.
type site struct {
	dir    string   // removed at the end
	lock   *os.File // held while this process lives
	bench  string   // the guest programs
	rootfs string
	bound  string // the mount point of the host's root, or ""
	notes  []string
}

// Space that must be free before anything starts, and what is left of it when
// a failed run is blamed on the disk.
const (
	needFiles = 512 << 20 // for workloads that write files
	needWork  = 16 << 20
	needOut   = 4 << 20
	noSpace   = 1 << 20
)

// space is what a measurement needs below --work.
func (p *plan) space() uint64 {
	if slices.ContainsFunc(p.workloads, func(w *spec.Workload) bool { return w.Writable }) {
		return needFiles
	}
	return needWork
}

func newSite(ctx context.Context, o *options) (*site, error) {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return nil, fmt.Errorf("--out: %w", err)
	}
	if err := room(o.out, needOut, "--out"); err != nil {
		return nil, err
	}
	if err := room(o.work, cmp.Or(o.space, needFiles), "--work"); err != nil {
		return nil, err
	}
	removeStale(o.work)
	dir, err := os.MkdirTemp(o.work, sitePrefix)
	if err != nil {
		return nil, fmt.Errorf("--work: %w", err)
	}
	s := &site{dir: dir, bench: filepath.Join(dir, "guest")}
	if s.lock, err = lockSite(dir); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("--work: %w", err)
	}
	if err := s.fill(ctx, o); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *site) fill(ctx context.Context, o *options) error {
	if err := os.Chmod(s.dir, 0o755); err != nil { // a sandboxed runtime may not be root
		return err
	}
	if err := os.Mkdir(s.bench, 0o755); err != nil {
		return err
	}
	if err := guest.Install(ctx, s.bench); err != nil {
		if !errors.Is(err, guest.ErrNoCompiler) {
			return err
		}
		s.notes = append(s.notes, fmt.Sprintf("The cost of single system calls was not measured: %v.", err))
	}
	return s.root(o.rootfs)
}

// root finds the root file system. The host's own is shown through a read-only
// bind mount of this mount namespace.
func (s *site) root(want string) error {
	if want == "" {
		want = filepath.Join(labCache(), "rootfs")
		if st, err := os.Stat(filepath.Join(want, "usr")); err != nil || !st.IsDir() {
			want = "host"
		}
	}
	if want != "host" {
		abs, err := filepath.Abs(want)
		if err != nil {
			return err
		}
		if st, err := os.Stat(abs); err != nil || !st.IsDir() {
			return fmt.Errorf("--rootfs %s: not a directory: make lab makes one, \"host\" takes the host's own", want)
		}
		s.rootfs = abs
		return nil
	}
	s.rootfs = "/"
	if os.Getpid() != 1 { // not in a mount namespace of our own
		return nil
	}
	return s.bindHost()
}

func (s *site) bindHost() error {
	dir, err := os.MkdirTemp("", "bulkhead-bench-root.")
	if err != nil {
		return err
	}
	if err := unix.Mount("/", dir, "", unix.MS_BIND, ""); err != nil {
		os.Remove(dir)
		return fmt.Errorf("show the host's root read-only: %w", err)
	}
	s.bound, s.rootfs = dir, dir
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return fmt.Errorf("make the host's root read-only: %w", err)
	}
	// gVisor's gofer makes mount points in the root file system itself.
	mnt := filepath.Join(dir, filepath.Dir(drive.BenchDir))
	if err := unix.Mount("tmpfs", mnt, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=64k,mode=755"); err != nil {
		return fmt.Errorf("mount points in %s: %w", mnt, err)
	}
	for _, d := range []string{drive.BenchDir, drive.WorkDir} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return err
		}
	}
	return nil
}

// remove leaves nothing of the site. The host's root is unmounted first, and its
// mount point only ever removed as the empty directory that it then is.
func (s *site) remove() {
	drive.Sweep()
	if s.bound != "" && unix.Unmount(s.bound, unix.MNT_DETACH) == nil {
		os.Remove(s.bound)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		fmt.Fprintf(os.Stderr, "bulkhead bench: %s is left: %v\n", s.dir, err)
	}
	s.lock.Close()
	drive.RemoveCgroups()
}

// full blames a run's failure on the disk of --work, when that has no room left.
func (s *site) full(o *options) func(error) error {
	return func(cause error) error {
		free, err := space(s.dir)
		if !errors.Is(cause, unix.ENOSPC) && !errors.Is(cause, unix.EDQUOT) && (err != nil || free >= noSpace) {
			return nil
		}
		return fmt.Errorf("--work %s: the disk is full, %d kB are free: free some space or name another place with --work, and go on with --resume (%w)", o.work, free>>10, cause)
	}
}

func space(dir string) (free uint64, err error) {
	var st unix.Statfs_t
	err = unix.Statfs(dir, &st)
	return st.Bavail * uint64(st.Bsize), err
}

func room(dir string, need uint64, flag string) error {
	free, err := space(dir)
	if err != nil {
		return fmt.Errorf("%s %s: %w", flag, dir, err)
	}
	if free < need {
		return fmt.Errorf("%s %s: the disk is full: %d MB are free there, %d MB are needed: free some space or name another place with %s", flag, dir, free>>20, need>>20, flag)
	}
	return nil
}

// dropCaches empties the page cache (proc_sys_vm(5)).
func dropCaches() error {
	unix.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}
