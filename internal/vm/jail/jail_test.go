package jail

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/seccomp"
)

// The test binary stands for bulkhead-vmm.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "jail" {
		os.Exit(Main(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "memory" {
		os.Exit(underMemoryFilter(os.Args[2]))
	}
	os.Exit(m.Run())
}

// run executes a shell line in a jail and gives its output.
func run(t *testing.T, spec Spec, script string) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes mount namespaces")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("missing: busybox; apt-get install busybox-static")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	spec.Argv = []string{"/busybox", "sh", "-c", strings.ReplaceAll(script, "@", "/busybox ")}
	spec.Binds = append(spec.Binds, Bind{Source: busybox, Dest: "/busybox"})
	p, err := Start(Options{
		Spec:  spec,
		Flags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
		Files: []*os.File{null, w, w},
	})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	out, _ := io.ReadAll(r)
	if !p.Wait(10 * time.Second) {
		p.Kill()
		t.Fatal("it does not end")
	}
	return string(out)
}

// The root has what was bound and nothing else, and cannot be written to.
func TestRoot(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/file", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir+"/secret", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/secret/key", []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	out := run(t, Spec{
		Binds: []Bind{{Source: dir, Dest: "/ro", Hide: []string{"secret"}}, {Source: dir, Dest: "/rw", Writable: true}, {Source: "/nowhere", Dest: "/n", Optional: true}},
		Dirs:  []string{"/empty"},
	}, `@ls /; @ls /ro/secret; echo a >/ro/new; echo a >/new; echo b >/rw/new && @cat /rw/new`)
	lines := strings.Fields(out)
	if got := strings.Join(lines[:min(5, len(lines))], " "); got != "busybox empty ro rw sh:" {
		t.Errorf("the root has %q\n%s", got, out)
	}
	if strings.Count(out, "Read-only file system") != 2 || !strings.HasSuffix(out, "b\n") {
		t.Errorf("writing:\n%s", out)
	}
}

// What is left of root's rights.
func TestRights(t *testing.T) {
	const script = `@grep -E "^(Uid|Groups|CapEff|CapBnd|NoNewPrivs)" /proc/self/status; @ls /proc | @grep -c "^[0-9]"`
	out := run(t, Spec{UID: 4711, GID: 4712, Groups: []int{4713}, Proc: true}, script)
	for _, want := range []string{"Uid:\t4711\t4711\t4711", "Groups:\t4713", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	out = run(t, Spec{Caps: 1 << unix.CAP_CHOWN, Proc: true}, script)
	if !strings.Contains(out, "CapEff:\t0000000000000001") {
		t.Errorf("CAP_CHOWN alone is to be left:\n%s", out)
	}
}

// The filter holds the helper from its start, and does not hinder its exec.
func TestFilter(t *testing.T) {
	filter, err := Compile(&seccomp.Filter{Default: seccomp.Allow, Rules: []seccomp.Rule{
		{Nr: unix.SYS_UNAME, Name: "uname", Reason: "test", Action: seccomp.Errno(unix.EXDEV)},
		{Nr: unix.SYS_SYNC, Name: "sync", Reason: "test", Action: seccomp.KillProcess},
	}})
	if err != nil {
		t.Fatal(err)
	}
	out := run(t, Spec{Filter: filter, Proc: true}, `@uname; @sync; echo status $?; @grep Seccomp: /proc/self/status`)
	if strings.Contains(out, "Linux") || !strings.Contains(out, "status 159") || !strings.Contains(out, "Seccomp:\t2") {
		t.Errorf("uname is to be refused, and sync to end its caller (128 + SIGSYS):\n%s", out)
	}
	for _, bad := range []Program{{1, 2, 3}, make(Program, 8*5000)} {
		if bad.install() == nil {
			t.Errorf("a filter of %d bytes was taken", len(bad))
		}
	}
}

func TestCheck(t *testing.T) {
	for _, dest := range []string{"", "relative", "/a/../b", "/.."} {
		s := Spec{Argv: []string{"/x"}, Binds: []Bind{{Source: "/", Dest: dest}}}
		if s.check() == nil {
			t.Errorf("%q was taken for a place in the jail", dest)
		}
	}
	if (&Spec{}).check() == nil {
		t.Error("a jail without a program")
	}
}

// underMemoryFilter says by its exit status what the filter has let through.
func underMemoryFilter(file string) int {
	runtime.LockOSThread()
	if unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != nil || installMemoryFilter() != nil {
		return 2
	}
	if fd, err := unix.Openat(unix.AT_FDCWD, "/nowhere", unix.O_RDWR, 0); fd != 0 || err != nil {
		return 3
	}
	if fd, err := unix.Openat(unix.AT_FDCWD, "/nowhere", unix.O_RDWR|unix.O_CLOEXEC, 0); err != unix.ENOENT {
		return 4 + fd
	}
	if fd, err := unix.Openat(unix.AT_FDCWD, file, unix.O_RDONLY, 0); fd <= 0 || err != nil {
		return 5
	}
	if unix.Fallocate(0, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 4096) != nil || unix.Fallocate(1, 0, 0, 4096) == nil {
		return 6
	}
	mem, err := unix.Mmap(0, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE)
	if err != nil || mem[0] != 'x' {
		return 7
	}
	mem[0] = 'y'
	if unix.Madvise(mem, unix.MADV_DONTNEED) != nil || mem[0] != 'x' {
		return 8
	}
	if _, err := unix.Mmap(0, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != unix.EACCES {
		return 9
	}
	return 0
}

// What QEMU does to a template's memory leaves the file as it was.
func TestMemoryFilter(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ram")
	want := strings.Repeat("x", 4096)
	if err := os.WriteFile(file, []byte(want), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command(os.Args[0], "memory", file)
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got, _ := os.ReadFile(file); string(got) != want {
		t.Error("the template has changed")
	}
}
