package proc

import (
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/fs/kernfs"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

const superMagic = 0x9fa0 // PROC_SUPER_MAGIC

// Config is what /proc shows that the Sentry cannot find out itself.
type Config struct {
	// CPUInfo reads the host's cpuinfo, once it is asked for: reading it may
	// take the host milliseconds. nil: a plain one is made up.
	CPUInfo func() []byte
	// CPUs are the CPUs that the guest may use; 0: the host's.
	CPUs int
	// CgroupPath is what /proc/PID/cgroup shows; "" is "/".
	CgroupPath string
	// CmdLine is /proc/cmdline.
	CmdLine string
	// Release, Version and Machine as uname(2) has them.
	Release, Version string
	// UIDMap and GIDMap are the lines of uid_map and gid_map; nil: the
	// identity.
	UIDMap, GIDMap []IDMap
}

// IDMap is a line of a uid_map.
type IDMap struct{ Inside, Outside, Count uint32 }

// Proc is the process file system of one sandbox; its mounts are instances.
type Proc struct {
	view inspect.View
	conf Config
	sys  *kernfs.Dir // /proc/sys, shared by all instances
	top  func() []topFile

	load    loadAverage
	netOnce sync.Once
	netDir  map[string]vfs.Inode
}

// New makes the process file system of a sandbox.
func New(view inspect.View, conf Config) *Proc {
	if conf.CgroupPath == "" {
		conf.CgroupPath = "/"
	}
	if conf.CPUInfo == nil {
		conf.CPUInfo = func() []byte { return nil }
	}
	conf.CPUInfo = sync.OnceValue(conf.CPUInfo)
	p := &Proc{view: view, conf: conf}
	p.sys = p.newSys()
	p.top = sync.OnceValue(p.topFiles)
	return p
}

// Type gives the kind of file system for mount(2).
func (p *Proc) Type() *vfs.FSType {
	return &vfs.FSType{Name: "proc", NoDev: true, New: func(_ vfs.Caller, _ string, _ uint64, data string) (*vfs.Filesystem, abi.Errno) {
		return p.NewInstance(data)
	}}
}

// instance is one mount's: it has options.
type instance struct {
	vfs.FilesystemDefaults
	p *Proc

	mu  sync.RWMutex
	opt options
}

// options are proc(5)'s mount options.
type options struct {
	hidePID int    // 0, 1, 2 or 4 (ptraceable)
	gid     uint32 // sees all in spite of hidePID
	setGID  bool
	subset  bool // subset=pid
}

// NewInstance makes a file system to mount.
func (p *Proc) NewInstance(data string) (*vfs.Filesystem, abi.Errno) {
	i := &instance{p: p}
	if e := i.opt.parse(data); e != 0 {
		return nil, e
	}
	fs := vfs.NewFilesystem("proc", superMagic, i.newRoot(), i)
	fs.Volatile = true
	return fs, 0
}

func (o *options) parse(data string) abi.Errno {
	for _, f := range strings.Split(data, ",") {
		key, val, _ := strings.Cut(f, "=")
		switch key {
		case "":
		case "hidepid":
			n, ok := map[string]int{"0": 0, "off": 0, "1": 1, "noaccess": 1, "2": 2, "invisible": 2, "4": 4, "ptraceable": 4}[val]
			if !ok {
				return unix.EINVAL
			}
			o.hidePID = n
		case "gid":
			n, err := strconv.ParseUint(val, 10, 32)
			if err != nil {
				return unix.EINVAL
			}
			o.gid, o.setGID = uint32(n), true
		case "subset":
			if val != "pid" {
				return unix.EINVAL
			}
			o.subset = true
		default:
			return unix.EINVAL
		}
	}
	return 0
}

func (i *instance) options() options {
	i.mu.RLock()
	defer i.mu.RUnlock()
	return i.opt
}

// Options is vfs.FilesystemOps's.
func (i *instance) Options() string {
	o := i.options()
	var s []string
	if o.setGID {
		s = append(s, "gid="+strconv.Itoa(int(o.gid)))
	}
	if o.hidePID != 0 {
		s = append(s, "hidepid="+map[int]string{1: "noaccess", 2: "invisible", 4: "ptraceable"}[o.hidePID])
	}
	if o.subset {
		s = append(s, "subset=pid")
	}
	return strings.Join(s, ",")
}

// Remount is vfs.FilesystemOps's.
func (i *instance) Remount(_ vfs.Caller, data string) abi.Errno {
	o := i.options()
	subset := o.subset
	if e := o.parse(data); e != 0 {
		return e
	}
	o.subset = subset // fixed once mounted
	i.mu.Lock()
	i.opt = o
	i.mu.Unlock()
	return 0
}

// Statfs is vfs.FilesystemOps's.
func (i *instance) Statfs(vfs.Caller) (vfs.Statfs, abi.Errno) {
	return vfs.Statfs{Bsize: 4096, Namelen: 255}, 0
}

// visible tells whether the caller may see that t's process exists.
func (i *instance) visible(c vfs.Caller, t inspect.Task) bool {
	o := i.options()
	if o.hidePID < 2 {
		return true
	}
	return i.sees(c, t, &o)
}

// sees applies hidepid's condition.
func (i *instance) sees(c vfs.Caller, t inspect.Task, o *options) bool {
	if o.hidePID == 0 {
		return true
	}
	if o.hidePID != 4 && o.setGID && c.Creds().InGroup(o.gid) {
		return true
	}
	return mayTrace(c, t)
}

// mayTrace is ptrace(2)'s access check, reading with file-system ids.
func mayTrace(c vfs.Caller, t inspect.Task) bool {
	if c.TGID() == t.PID() {
		return true
	}
	cr, tc := c.Creds(), t.Creds()
	if cr.Capable(auth.CAP_SYS_PTRACE) {
		return true
	}
	if cr.FSUID != tc.UID || cr.FSUID != tc.EUID || cr.FSUID != tc.SUID ||
		cr.FSGID != tc.GID || cr.FSGID != tc.EGID || cr.FSGID != tc.SGID {
		return false
	}
	return t.Dumpable() && tc.Permitted&^cr.Permitted == 0
}
