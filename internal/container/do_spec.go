package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// passedEnv is what a command sees of the caller's environment without --env:
// enough to work, nothing that is likely to hold a secret.
var passedEnv = []string{"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TERM", "COLORTERM", "LANG", "LANGUAGE", "TZ"}

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// launch makes the configuration of a `do` sandbox.
func (o *DoOptions) launch() (*launch, error) {
	if len(o.Args) == 0 {
		return nil, fmt.Errorf("no command; give one after --, as in: bulkhead do -- ls /")
	}
	root, err := resolveDir(o.RootDir)
	if err != nil {
		return nil, fmt.Errorf("--root-dir: %w", err)
	}
	uid, gid := os.Geteuid(), os.Getegid()
	l := &launch{
		stdio:       [3]*os.File{o.Stdin, o.Stdout, o.Stderr},
		start:       true,
		tie:         true,
		newSess:     true,
		sentryPlans: sentryPlans(uid, gid),
		goferPlans:  goferPlans(uid),
	}
	l.gofer.Mounts = []wire.GoferMount{{Root: root, Readonly: true, Dest: "/"}}
	host, _ := os.Hostname()
	l.sentry = wire.SentryConfig{
		ID:           fmt.Sprintf("do-%d", os.Getpid()),
		Root:         wire.Root{Overlay: wire.OverlayMemory},
		Mounts:       doMounts(),
		Hostname:     host,
		Namespaces:   wire.Namespaces{PID: true, Network: true, Mount: true, IPC: true, UTS: true, Cgroup: true},
		InitKillable: true,
		Network:      wire.Network{Mode: wire.NetworkLoopback},
		Limits:       wire.Limits{Pids: o.Pids, MemoryBytes: o.Memory},
		CgroupPath:   "/",
		Strace:       o.Strace,
		CountCalls:   o.CountCalls,
	}
	if err := o.volumes(l); err != nil {
		return nil, err
	}
	if err := o.process(l, root); err != nil {
		return nil, err
	}
	if o.VM != nil {
		vm := *o.VM
		// The whole of the host's root is too much for an image.
		vm.LiveRoot = vm.LiveRoot || root == "/"
		l.forVM(&vm, l.sentry.ID)
	}
	return l, nil
}

// resolveDir gives the real path of a directory, "/" for "".
func resolveDir(dir string) (string, error) {
	if dir == "" || dir == "/" {
		return "/", nil
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	real, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", err
	}
	st, err := os.Stat(real)
	if err != nil {
		return "", err
	}
	if !st.IsDir() {
		return "", fmt.Errorf("%s is not a directory", dir)
	}
	return real, nil
}

func doMounts() []wire.Mount {
	const safe = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV
	return []wire.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Flags: safe},
		{Destination: "/sys", Type: "sysfs", Source: "sysfs", Flags: safe | unix.MS_RDONLY},
		{Destination: "/sys/fs/cgroup", Type: "cgroup2", Source: "cgroup", Flags: safe | unix.MS_RDONLY},
		{Destination: "/dev", Type: "devtmpfs", Source: "devtmpfs", Flags: unix.MS_NOSUID, Data: "mode=755"},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Flags: unix.MS_NOSUID | unix.MS_NOEXEC, Data: "newinstance,ptmxmode=0666,mode=0620,gid=5"},
		{Destination: "/dev/shm", Type: "tmpfs", Source: "tmpfs", Flags: unix.MS_NOSUID | unix.MS_NODEV, Data: "mode=1777"},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Flags: safe},
	}
}

// volumes adds one gofer mount for each SRC:DST[:ro].
func (o *DoOptions) volumes(l *launch) error {
	for _, v := range o.Volumes {
		parts := strings.Split(v, ":")
		ro := len(parts) == 3 && parts[2] == "ro"
		if len(parts) < 2 || len(parts) > 3 || (len(parts) == 3 && !ro && parts[2] != "rw") {
			return fmt.Errorf("--volume %q: want SRC:DST, SRC:DST:ro or SRC:DST:rw", v)
		}
		if !filepath.IsAbs(parts[1]) {
			return fmt.Errorf("--volume %q: the destination %q is not an absolute path", v, parts[1])
		}
		abs, err := filepath.Abs(parts[0])
		if err == nil {
			abs, err = filepath.EvalSymlinks(abs)
		}
		if err != nil {
			return fmt.Errorf("--volume %q: %w", v, err)
		}
		st, err := os.Stat(abs)
		if err != nil {
			return fmt.Errorf("--volume %q: %w", v, err)
		}
		m := wire.Mount{
			Destination: filepath.Clean(parts[1]),
			Type:        "gofer",
			Source:      abs,
			Gofer:       len(l.gofer.Mounts),
			File:        !st.IsDir(),
			Recursive:   true,
			Shared:      true,
			Overlay:     wire.OverlayNone,
		}
		if ro {
			m.Flags = unix.MS_RDONLY
		}
		l.sentry.Mounts = append(l.sentry.Mounts, m)
		l.gofer.Mounts = append(l.gofer.Mounts, wire.GoferMount{Root: abs, Readonly: ro, Dest: m.Destination, Shared: true})
	}
	return nil
}

// process fills in the command, its user, environment and directory.
func (o *DoOptions) process(l *launch, root string) error {
	p := &l.sentry.Process
	p.Args = o.Args
	if err := o.user(p, root); err != nil {
		return err
	}
	p.Caps = capsOf(p.UID)
	p.Rlimits = callerRlimits()
	var err error
	if p.Env, err = o.environment(p.UID); err != nil {
		return err
	}
	p.Cwd, err = o.workdir(l, root)
	if err != nil {
		return err
	}
	if mask, ok := callerUmask(); ok {
		p.Umask = &mask
	}
	return nil
}

// capsOf gives root every capability of the guest's kernel, and others none
// but the right to gain them by set-uid programs.
func capsOf(uid uint32) wire.Capabilities {
	const all = 1<<(unix.CAP_LAST_CAP+1) - 1
	if uid == 0 {
		return wire.Capabilities{Bounding: all, Effective: all, Permitted: all}
	}
	return wire.Capabilities{Bounding: all}
}

func callerRlimits() []wire.Rlimit {
	var out []wire.Rlimit
	for res := 0; res <= unix.RLIMIT_RTTIME; res++ {
		var lim unix.Rlimit
		if unix.Getrlimit(res, &lim) == nil {
			out = append(out, wire.Rlimit{Resource: res, Soft: lim.Cur, Hard: lim.Max})
		}
	}
	return out
}

// callerUmask reads the umask without changing it.
func callerUmask() (uint32, bool) {
	mask := unix.Umask(0o022)
	unix.Umask(mask)
	return uint32(mask), true
}

func (o *DoOptions) environment(uid uint32) ([]string, error) {
	var env []string
	for _, name := range passedEnv {
		if v, ok := os.LookupEnv(name); ok {
			env = setEnv(env, name, v)
		}
	}
	for _, kv := range os.Environ() {
		if name, v, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "LC_") {
			env = setEnv(env, name, v)
		}
	}
	for _, kv := range o.Env {
		name, v, given := strings.Cut(kv, "=")
		if name == "" || strings.ContainsRune(kv, 0) {
			return nil, fmt.Errorf("--env %q: want NAME=VALUE or NAME", kv)
		}
		if !given {
			var ok bool
			if v, ok = os.LookupEnv(name); !ok {
				continue
			}
		}
		env = setEnv(env, name, v)
	}
	if !hasEnv(env, "PATH") {
		env = append(env, "PATH="+defaultPath)
	}
	if !hasEnv(env, "HOME") {
		home := "/"
		if uid == 0 {
			home = "/root"
		}
		env = append(env, "HOME="+home)
	}
	return env, nil
}

func hasEnv(env []string, name string) bool {
	for _, kv := range env {
		if strings.HasPrefix(kv, name+"=") {
			return true
		}
	}
	return false
}

func setEnv(env []string, name, value string) []string {
	for i, kv := range env {
		if strings.HasPrefix(kv, name+"=") {
			env[i] = name + "=" + value
			return env
		}
	}
	return append(env, name+"="+value)
}

// workdir chooses the directory to start in: --workdir, else the current one
// if the sandbox has it, else /.
func (o *DoOptions) workdir(l *launch, root string) (string, error) {
	if o.Workdir != "" {
		if !filepath.IsAbs(o.Workdir) {
			return "", fmt.Errorf("--workdir %q is not an absolute path", o.Workdir)
		}
		return filepath.Clean(o.Workdir), nil
	}
	cwd, err := unix.Getwd()
	if err != nil || !filepath.IsAbs(cwd) {
		return "/", nil
	}
	// The last mount that covers the path decides.
	tree, rest := root, cwd
	for _, m := range l.sentry.Mounts {
		sub, ok := below(cwd, m.Destination)
		if !ok {
			continue
		}
		if m.Type != "gofer" {
			return "/", nil
		}
		tree, rest = m.Source, sub
	}
	if !dirExists(tree, rest) {
		return "/", nil
	}
	return cwd, nil
}

// below says whether path is dir or inside it, and what remains.
func below(path, dir string) (rest string, ok bool) {
	if dir == "/" {
		return path, true
	}
	if path == dir {
		return "/", true
	}
	rest, ok = strings.CutPrefix(path, dir+"/")
	return "/" + rest, ok
}

// dirExists looks path up below tree, symbolic links resolved as in a chroot.
func dirExists(tree, path string) bool {
	fd, err := openIn(tree, path, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

// openIn opens path below the host directory tree as a chroot there would.
func openIn(tree, path string, flags uint64) (int, error) {
	dir, err := unix.Open(tree, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(dir)
	return unix.Openat2(dir, path, &unix.OpenHow{
		Flags:   flags | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
}
