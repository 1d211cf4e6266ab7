// Package virtiofs serves trees of the host to a VM by QEMU's virtiofsd. One
// daemon serves one tree, made of binds in its jail: what is to be read-only
// is so on the host's side, whatever the guest does.
//
// The daemon runs with the capabilities that owners and modes need and no
// others, or as the caller where that is an ordinary user; it sees nothing of
// the host but the trees. It ends with its connection.
package virtiofs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/filters"
	"bulkhead.dev/bulkhead/internal/vm/jail"
)

// Cache is what the guest may keep without asking.
type Cache string

// Kinds of cache.
const (
	CacheAlways Cache = "always" // nobody else changes the tree
	CacheAuto   Cache = "auto"   // the guest asks again after a second, and at each open
)

// Tree is one part of what a daemon serves: Source, seen as /Name.
type Tree struct {
	Source   string
	Name     string // "" is the daemon's root itself; then it is the only one
	Writable bool
}

// Options describe a daemon.
type Options struct {
	Trees []Tree
	Cache Cache
	// OneTree shows file systems mounted below the tree as part of it. An
	// overlay needs that of what it lies over: it cannot cross the automounts
	// that tell them apart. The numbers of inodes may then repeat.
	OneTree bool
	Flags   uintptr // namespaces of its jail; 0: none may be made
	Log     *os.File
	Dir     string // a directory of the caller's own, for the socket's moment of life
}

// Server is a running daemon.
type Server struct {
	*jail.Process
	// Socket is the connected vhost-user socket, for QEMU.
	Socket *os.File
}

// caps are what serving files of any owner takes, and what the daemon needs to
// drop the rest (it does so before it serves: CAP_SYS_CHROOT, CAP_SETPCAP).
const caps = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH | 1<<unix.CAP_FOWNER | 1<<unix.CAP_FSETID |
	1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID | 1<<unix.CAP_MKNOD | 1<<unix.CAP_SETFCAP | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_SETPCAP

// share is where the trees are in the jail.
const share = "/share"

// Find looks for virtiofsd.
func Find() (string, error) {
	if p := os.Getenv("BULKHEAD_VIRTIOFSD"); p != "" {
		return p, nil
	}
	for _, p := range []string{"/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "/usr/bin/virtiofsd"} {
		if unix.Access(p, unix.X_OK) == nil {
			return p, nil
		}
	}
	return "", errors.New("there is no virtiofsd, which volumes need: install it (Debian 12: apt-get install --no-install-recommends qemu-system-common)")
}

// maxFiles is how many files a virtiofsd may have open, if the host's hard limit is
// no lower.
const maxFiles = 1 << 20

// Files is how many it may have here. It keeps one for each name that the guest's
// kernel knows.
func Files() uint64 {
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) != nil {
		return maxFiles
	}
	return min(maxFiles, lim.Max)
}

// Start starts a daemon and connects to it.
func Start(o Options) (*Server, error) {
	program, err := Find()
	if err != nil {
		return nil, err
	}
	listener, path, err := listen(o.Dir)
	if err != nil {
		return nil, err
	}
	defer listener.Close()
	defer os.Remove(path)
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	log := o.Log
	if log == nil {
		log = null
	}
	j := jail.Options{Files: []*os.File{null, null, log, listener}, Flags: o.Flags}
	source := share
	if o.Flags != 0 {
		j.Binds = jail.Libraries()
		if !strings.HasPrefix(program, "/usr/lib/") {
			j.Binds = append(j.Binds, jail.Bind{Source: program, Dest: program})
		}
		j.Binds = append(j.Binds, binds(o.Trees)...)
		j.Dirs = []string{share, "/run", "/tmp", "/var/lib/virtiofsd", "/var/run"}
		j.Proc = true
		j.Caps = caps
	} else if len(o.Trees) == 1 && o.Trees[0].Name == "" {
		source = o.Trees[0].Source
	} else {
		return nil, errors.New("volumes need a mount namespace, which may not be made here")
	}
	j.NoFile = maxFiles
	j.Argv = []string{
		program, "--fd=3", "--rlimit-nofile=0", "-f", "-o", "source=" + source,
		"-o", "cache=" + string(o.Cache), "-o", "sandbox=chroot", "-o", "xattr", "-o", "no_posix_lock", "-o", "log_level=err", "--thread-pool-size=1",
	}
	if !o.OneTree {
		j.Argv = append(j.Argv, "-o", "announce_submounts")
	}
	if j.Filter, err = jail.Compile(filters.Virtiofsd()); err != nil {
		return nil, err
	}
	p, err := jail.Start(j)
	if err != nil {
		return nil, err
	}
	s := &Server{Process: p}
	if s.Socket, err = connect(path); err != nil {
		p.Kill()
		return nil, err
	}
	return s, nil
}

func binds(trees []Tree) []jail.Bind {
	var out []jail.Bind
	for _, t := range trees {
		b := jail.Bind{Source: t.Source, Dest: filepath.Join(share, t.Name), Writable: t.Writable}
		if t.Source == "/" {
			// The guest has its own, and the host's tell too much.
			b.Hide = []string{"proc", "sys", "dev"}
		}
		out = append(out, b)
	}
	return out
}

// listen makes the socket that the daemon wants to accept its only connection
// from.
func listen(dir string) (*os.File, string, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, "", fmt.Errorf("virtiofsd's socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "virtiofsd socket")
	path := filepath.Join(dir, fmt.Sprintf("fs%d", time.Now().UnixNano()))
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		f.Close()
		return nil, "", fmt.Errorf("virtiofsd's socket %s: %w", path, err)
	}
	if err := unix.Listen(fd, 1); err != nil {
		f.Close()
		return nil, "", fmt.Errorf("virtiofsd's socket: %w", err)
	}
	return f, path, nil
}

func connect(path string) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("virtiofsd's socket: %w", err)
	}
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("virtiofsd's socket: %w", err)
	}
	return os.NewFile(uintptr(fd), "virtiofsd"), nil
}
