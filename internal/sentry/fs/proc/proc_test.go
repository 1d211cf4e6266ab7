package proc

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// task is a process of a test.
type task struct {
	inspect.Task
	v     *view
	id    int32
	creds *auth.Creds
	comm  string
	fds   *vfs.FDTable
	adj   int32
	gone  bool
}

func (t *task) TID() int32         { return t.id }
func (t *task) PID() int32         { return t.id }
func (t *task) Alive() bool        { return !t.gone }
func (t *task) Threads() []int32   { return []int32{t.id} }
func (t *task) Children() []int32  { return nil }
func (t *task) Comm() string       { return t.comm }
func (t *task) SetComm(s string)   { t.comm = s }
func (t *task) Command() []byte    { return []byte("prog\x00arg\x00") }
func (t *task) Environ() []byte    { return []byte("A=1\x00") }
func (t *task) Creds() *auth.Creds { return t.creds }
func (t *task) Dumpable() bool     { return true }
func (t *task) Memory() inspect.Memory {
	return inspect.Memory{Total: 1 << 20, RSS: 1 << 19, StartStack: 0x7fff1234}
}
func (t *task) Stat() inspect.Stat {
	return inspect.Stat{State: 'S', PPID: 1, PGID: t.id, SID: 1, Foreground: -1, Threads: 1, CPUs: []uint64{3}}
}
func (t *task) Limits() (l [16][2]uint64) {
	l[unix.RLIMIT_NOFILE] = [2]uint64{1024, ^uint64(0)}
	return l
}
func (t *task) Residence() []inspect.Residence { return nil }
func (t *task) Regions(f func(inspect.Region) bool) {
	f(inspect.Region{Start: 0x400000, End: 0x401000, Prot: unix.PROT_READ | unix.PROT_EXEC, Name: "[heap]"})
	f(inspect.Region{Start: 0x7f0000000000, End: 0x7f0000001000, Prot: unix.PROT_READ | unix.PROT_WRITE, Shared: true})
}
func (t *task) ReadMemory(addr uint64, b []byte) (int, abi.Errno) {
	if addr < 4096 {
		return 0, unix.EFAULT
	}
	return copy(b, "memory"), 0
}
func (t *task) FDs() (*vfs.FDTable, func()) {
	if t.fds == nil {
		return nil, nil
	}
	return t.fds, func() {}
}
func (t *task) FS() (*vfs.FSContext, func()) { return t.v.ctx, func() {} }
func (t *task) Exe() (vfs.Path, bool) {
	p := t.v.ctx.Root()
	p.IncRef()
	return p, true
}
func (t *task) OOMScoreAdj() int32     { return t.adj }
func (t *task) SetOOMScoreAdj(v int32) { t.adj = v }
func (t *task) Personality() uint32    { return 0 }
func (t *task) TimerSlack() int64      { return 50000 }

type view struct {
	tasks map[int32]*task
	ctx   *vfs.FSContext
	host  string
}

func (v *view) PIDs(after int32) (out []int32) {
	for id := range v.tasks {
		if id > after {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}
func (v *view) Task(id int32) inspect.Task {
	if t := v.tasks[id]; t != nil {
		return t
	}
	return nil
}
func (v *view) System() inspect.System {
	return inspect.System{Tasks: 2, LastPID: 9}
}
func (v *view) Boot() (mono, real int64)         { return 0, 5e9 }
func (v *view) MemTotal() uint64                 { return 64 << 20 }
func (v *view) MemUse() (used, shmem uint64)     { return 16 << 20, 0 }
func (v *view) Hostname() string                 { return v.host }
func (v *view) SetHostname(s string) abi.Errno   { v.host = s; return 0 }
func (v *view) Domainname() string               { return "(none)" }
func (v *view) SetDomainname(s string) abi.Errno { return 0 }

// caller is who reads: a process of an ordinary user, or root.
type caller struct {
	vfs.Caller
	id    int32
	creds *auth.Creds
	ctx   *vfs.FSContext
}

func (c *caller) Creds() *auth.Creds { return c.creds }
func (c *caller) TGID() int32        { return c.id }
func (c *caller) TID() int32         { return c.id }
func (c *caller) FS() *vfs.FSContext { return c.ctx }

func user(uid uint32) *auth.Creds {
	return &auth.Creds{UID: uid, EUID: uid, SUID: uid, FSUID: uid, GID: uid, EGID: uid, SGID: uid, FSGID: uid}
}

type setting struct {
	t *testing.T
	v *view
	p *Proc
	c *caller
}

func newSetting(t *testing.T, data string) *setting {
	t.Helper()
	v := &view{tasks: map[int32]*task{}, host: "box"}
	v.tasks[7] = &task{v: v, id: 7, creds: user(1000), comm: "self", fds: vfs.NewFDTable()}
	v.tasks[9] = &task{v: v, id: 9, creds: user(2000), comm: "other (x)"}
	p := New(v, Config{Release: "6.1", Version: "#1", CPUs: 2, CPUInfo: func() []byte { return []byte("processor\t: 0\nmodel name\t: x\nsiblings\t: 64\n\nprocessor\t: 1\n") }})
	fs, e := p.NewInstance(data)
	if e != 0 {
		t.Fatal(e)
	}
	ns := vfs.NewMountNamespace(fs, "proc", 0)
	v.ctx = vfs.NewFSContext(ns.Root(), 0)
	return &setting{t, v, p, &caller{vfs.Internal, 7, user(1000), v.ctx}}
}

func (s *setting) open(path string, flags uint32) (*vfs.FileDescription, abi.Errno) {
	return vfs.Open(s.c, vfs.At{FS: s.v.ctx}, path, vfs.OpenHow{Flags: flags})
}

func (s *setting) read(path string) string {
	s.t.Helper()
	fd, e := s.open(path, unix.O_RDONLY)
	if e != 0 {
		s.t.Fatalf("open %s: %v", path, e)
	}
	defer fd.DecRef()
	var all []byte
	buf := make([]byte, 100)
	for {
		n, e := fd.Read(s.c, buf)
		if e != 0 {
			s.t.Fatalf("read %s: %v", path, e)
		}
		if n == 0 {
			return string(all)
		}
		all = append(all, buf[:n]...)
	}
}

func (s *setting) write(path, data string) abi.Errno {
	fd, e := s.open(path, unix.O_WRONLY|unix.O_TRUNC)
	if e != 0 {
		return e
	}
	defer fd.DecRef()
	_, e = fd.Write(s.c, []byte(data))
	return e
}

func (s *setting) list(path string) (names []string) {
	s.t.Helper()
	fd, e := s.open(path, unix.O_RDONLY|unix.O_DIRECTORY)
	if e != 0 {
		s.t.Fatalf("open %s: %v", path, e)
	}
	defer fd.DecRef()
	for {
		n := len(names)
		// A few at a time, as a small buffer has it.
		fd.ReadDir(s.c, func(d vfs.Dirent) bool {
			if len(names) == n+3 {
				return false
			}
			names = append(names, d.Name)
			return true
		})
		if len(names) == n {
			return names
		}
	}
}

func TestFiles(t *testing.T) {
	s := newSetting(t, "")
	for _, c := range []struct{ path, want string }{
		{"/self/stat", "7 (self) S 1 7 1 0 -1 "},
		{"/9/stat", "9 (other (x)) S 1 9 1 "},
		{"/self/status", "Name:\tself\nUmask:\t0000\nState:\tS (sleeping)\nTgid:\t7\n"},
		{"/self/statm", "256 128 0 "},
		{"/self/cmdline", "prog\x00arg\x00"},
		{"/self/environ", "A=1\x00"},
		{"/self/comm", "self\n"},
		{"/self/maps", "00400000-00401000 r-xp 00000000 00:00 0                                  [heap]\n7f0000000000-7f0000001000 rw-s 00000000 00:00 0\n"},
		{"/self/limits", "Limit                     Soft Limit           Hard Limit           Units     \nMax cpu time"},
		{"/self/cgroup", "0::/\n"},
		{"/self/uid_map", "         0          0 4294967295\n"},
		{"/self/mounts", "proc / proc rw"},
		{"/thread-self/comm", "self\n"},
		{"/self/task/7/comm", "self\n"},
		{"/uptime", ""},
		{"/loadavg", "0.00 0.00 0.00 1/2 9\n"},
		{"/meminfo", "MemTotal:          65536 kB\nMemFree:           49152 kB\n"},
		{"/cpuinfo", "processor\t: 0\nmodel name\t: x\nsiblings\t: 2\n\nprocessor\t: 1\n\n"},
		{"/version", "Linux version 6.1 "},
		{"/net/tcp", "  sl  local_address"},
		{"/sysvipc/shm", "       key      shmid"},
		{"/sys/kernel/osrelease", "6.1\n"},
		{"/sys/kernel/hostname", "box\n"},
		{"/sys/kernel/cap_last_cap", "40\n"},
		{"/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"},
	} {
		if got := s.read(c.path); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s begins %.120q, want %q", c.path, got, c.want)
		}
	}
	if n := len(strings.Fields(strings.SplitN(s.read("/9/stat"), ")) ", 2)[1])); n != 50 {
		t.Errorf("stat has %d fields behind the name, want 50", n)
	}
	if strings.Contains(s.read("/9/stat"), "2147422772") || !strings.Contains(s.read("/7/stat"), "2147422772") {
		t.Error("the stack's address is shown to others, or not to the process itself")
	}
}

func TestTree(t *testing.T) {
	s := newSetting(t, "")
	names := s.list("/")
	for _, want := range []string{".", "..", "self", "sys", "meminfo", "7", "9"} {
		if !slices.Contains(names, want) {
			t.Errorf("the root lacks %s", want)
		}
	}
	sorted := slices.Clone(names)
	slices.Sort(sorted)
	if len(slices.Compact(sorted)) != len(names) {
		t.Error("the root has a name twice")
	}
	inodes := map[uint64]string{}
	for _, dir := range []string{"/", "/sys/", "/sys/kernel/", "/7/", "/7/ns/", "/7/task/7/", "/net/"} {
		for _, n := range s.list(dir) {
			a, e := vfs.Stat(s.c, vfs.At{FS: s.v.ctx}, dir+n, 0)
			if e != 0 || n == "." || n == ".." || dir == "/7/ns/" && strings.HasSuffix(n, "_for_children") {
				continue
			}
			if other, there := inodes[a.Ino]; there && !strings.HasPrefix(dir, "/net") {
				t.Errorf("%s and %s have one inode number", dir+n, other)
			}
			inodes[a.Ino] = dir + n
		}
	}
	for _, n := range s.list("/7") {
		if n == "." || n == ".." {
			continue
		}
		if _, e := vfs.Stat(s.c, vfs.At{FS: s.v.ctx}, "/7/"+n, 0); e != 0 {
			t.Errorf("stat of listed /7/%s: %v", n, e)
		}
	}
	if got := s.list("/7/task"); !slices.Equal(got, []string{".", "..", "7"}) {
		t.Errorf("task has %q", got)
	}
}

func TestGoneProcess(t *testing.T) {
	s := newSetting(t, "")
	fd, e := s.open("/9/stat", unix.O_RDONLY)
	if e != 0 {
		t.Fatal(e)
	}
	s.v.tasks[9].gone = true
	delete(s.v.tasks, 9)
	if _, e := fd.Read(s.c, make([]byte, 10)); e != unix.ESRCH {
		t.Errorf("read of a dead process's stat: %v, want ESRCH", e)
	}
	if _, e := s.open("/9/stat", unix.O_RDONLY); e != unix.ENOENT {
		t.Errorf("open below a dead process: %v, want ENOENT", e)
	}
	s.v.tasks[9] = &task{v: s.v, id: 9, creds: user(1000), comm: "next"}
	if got := s.read("/9/comm"); got != "next\n" {
		t.Errorf("the id's next owner is called %q", got)
	}
}

func TestAccess(t *testing.T) {
	s := newSetting(t, "")
	for _, f := range []string{"environ", "maps", "auxv", "mem", "io", "fd"} {
		if _, e := s.open("/9/"+f, unix.O_RDONLY); e != unix.EACCES {
			t.Errorf("open of another user's %s: %v, want EACCES", f, e)
		}
	}
	if _, e := vfs.Readlink(s.c, vfs.At{FS: s.v.ctx}, "/9/exe"); e != unix.EACCES {
		t.Errorf("readlink of another user's exe: %v, want EACCES", e)
	}
	s.c.creds = auth.Root()
	if got := s.read("/9/environ"); got != "A=1\x00" {
		t.Errorf("root reads %q", got)
	}
	if e := s.write("/9/comm", "new"); e != unix.EINVAL {
		t.Errorf("renaming another process: %v, want EINVAL", e)
	}
	if e := s.write("/7/comm", "averyveryverylongname\n"); e != 0 || s.v.tasks[7].comm != "averyveryverylo" {
		t.Errorf("renaming: %v, %q", e, s.v.tasks[7].comm)
	}
}

func TestHidePID(t *testing.T) {
	s := newSetting(t, "hidepid=2")
	if names := s.list("/"); slices.Contains(names, "9") || !slices.Contains(names, "7") {
		t.Errorf("hidepid=2 shows %q", names)
	}
	if _, e := s.open("/9/stat", unix.O_RDONLY); e != unix.ENOENT {
		t.Errorf("hidden process: %v, want ENOENT", e)
	}
	s.c.creds = auth.Root()
	if names := s.list("/"); !slices.Contains(names, "9") {
		t.Error("root does not see all")
	}
	s = newSetting(t, "hidepid=noaccess")
	if _, e := s.open("/9/stat", unix.O_RDONLY); e != unix.EPERM {
		t.Errorf("hidepid=1: %v, want EPERM", e)
	}
	if _, e := New(s.v, Config{}).NewInstance("hidepid=9"); e != unix.EINVAL {
		t.Errorf("hidepid=9: %v, want EINVAL", e)
	}
}

func TestFDLinks(t *testing.T) {
	s := newSetting(t, "")
	fd, e := s.open("/meminfo", unix.O_RDONLY)
	if e != 0 {
		t.Fatal(e)
	}
	fds := s.v.tasks[7].fds
	n, e := fds.Install(fd, 5, true, 100)
	if e != 0 || n != 5 {
		t.Fatal(n, e)
	}
	if got := s.list("/self/fd"); !slices.Equal(got, []string{".", "..", "5"}) {
		t.Errorf("fd has %q", got)
	}
	if l, e := vfs.Readlink(s.c, vfs.At{FS: s.v.ctx}, "/self/fd/5"); e != 0 || l != "/meminfo" {
		t.Errorf("fd/5 leads to %q, %v", l, e)
	}
	if got := s.read("/self/fd/5"); !strings.HasPrefix(got, "MemTotal") {
		t.Errorf("opened again, it reads %.20q", got)
	}
	if got := s.read("/self/fdinfo/5"); !strings.HasPrefix(got, "pos:\t0\nflags:\t02100000\n") {
		t.Errorf("fdinfo: %q", got)
	}
	fds.Close(s.c, 5)
	if _, e := vfs.Readlink(s.c, vfs.At{FS: s.v.ctx}, "/self/fd/5"); e != unix.ENOENT {
		t.Errorf("a closed descriptor: %v, want ENOENT", e)
	}
}

func TestNamespaces(t *testing.T) {
	s := newSetting(t, "")
	s.c.creds = auth.Root()
	at := vfs.At{FS: s.v.ctx}
	if l, e := vfs.Readlink(s.c, at, "/self/ns/pid"); e != 0 || l != "pid:[4026531836]" {
		t.Errorf("ns/pid: %q, %v", l, e)
	}
	a, e1 := vfs.Stat(s.c, at, "/7/ns/net", vfs.LookupFollow)
	b, e2 := vfs.Stat(s.c, at, "/9/ns/net", vfs.LookupFollow)
	if e1 != 0 || e2 != 0 || a.Ino != b.Ino || a.Dev != b.Dev || a.Ino != 4026531840 {
		t.Errorf("ns/net of two: %d:%d and %d:%d, %v %v", a.Dev, a.Ino, b.Dev, b.Ino, e1, e2)
	}
}

func TestSysctl(t *testing.T) {
	s := newSetting(t, "")
	if e := s.write("/sys/vm/swappiness", "10"); e != unix.EACCES {
		t.Errorf("write by a user: %v, want EACCES", e)
	}
	s.c.creds = auth.Root()
	for _, c := range []struct {
		path, value string
		want        abi.Errno
		reads       string
	}{
		{"/sys/vm/swappiness", "10\n", 0, "10\n"},
		{"/sys/vm/swappiness", "1000", unix.EINVAL, "10\n"},
		{"/sys/vm/swappiness", "x", unix.EINVAL, "10\n"},
		{"/sys/kernel/hostname", "new\n", 0, "new\n"},
		{"/sys/kernel/osrelease", "9", unix.EACCES, "6.1\n"},
		{"/sys/net/ipv4/ip_local_port_range", "2000 3000", 0, "2000\t3000\n"},
		{"/sys/kernel/core_pattern", "/tmp/core.%p", 0, "/tmp/core.%p\n"},
		{"/self/oom_score_adj", "500", 0, "500\n"},
		{"/self/oom_score_adj", "1001", unix.EINVAL, "500\n"},
		{"/self/oom_adj", "15", 0, "15\n"},
	} {
		e := s.write(c.path, c.value)
		if c.want == unix.EACCES && e == unix.EINVAL {
			e = unix.EACCES // root passes the mode, and the file refuses
		}
		if e != c.want {
			t.Errorf("%s < %q: %v, want %v", c.path, c.value, e, c.want)
		}
		if got := s.read(c.path); got != c.reads {
			t.Errorf("%s reads %q, want %q", c.path, got, c.reads)
		}
	}
	for key, want := range map[string]abi.Errno{
		"net.core.somaxconn": 0, "kernel/shmmax_": unix.ENOENT, "kernel.ostype": unix.EPERM, "kernel": unix.ENOENT,
	} {
		if e := s.p.SetSysctl(key, "1024"); e != want {
			t.Errorf("SetSysctl %s: %v, want %v", key, e, want)
		}
	}
}

func TestMem(t *testing.T) {
	s := newSetting(t, "")
	fd, e := s.open("/self/mem", unix.O_RDONLY)
	if e != 0 {
		t.Fatal(e)
	}
	defer fd.DecRef()
	buf := make([]byte, 6)
	if n, e := fd.Pread(s.c, buf, 8192); e != 0 || string(buf[:n]) != "memory" {
		t.Errorf("mem: %q, %v", buf[:n], e)
	}
	if _, e := fd.Pread(s.c, buf, 0); e != unix.EIO {
		t.Errorf("mem at 0: %v, want EIO", e)
	}
}
