package agent

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

func TestOptions(t *testing.T) {
	o := parseOptions("console=ttyS0 bulkhead.channel=vsock bulkhead.port=other bulkhead.files=7 bulkhead.modules=block,erofs bulkhead.later=rng bulkhead.debug=1 quiet\n")
	if o != (options{channel: "vsock", port: "other", debug: true, files: 7, modules: "block,erofs", later: "rng"}) {
		t.Errorf("%+v", o)
	}
	if o := parseOptions(""); o != (options{channel: "virtio", port: agentpb.PortName}) {
		t.Errorf("%+v", o)
	}
}

// forkTest forks a child that has the test's own rights.
func forkTest(t *testing.T, fill func(*script)) (*child, func() unix.WaitStatus) {
	t.Helper()
	s, report, start, err := newScript()
	if err != nil {
		t.Fatal(err)
	}
	fill(s)
	c, err := s.fork(0, -1, report, start)
	s.closeChildEnds()
	if err != nil {
		t.Fatal(err)
	}
	return c, func() unix.WaitStatus {
		var st unix.WaitStatus
		for {
			_, err := unix.Wait4(c.pid, &st, 0, nil)
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			c.close()
			unix.Close(c.pidfd)
			return st
		}
	}
}

func TestScript(t *testing.T) {
	out, theirs, err := pipePair(false)
	if err != nil {
		t.Fatal(err)
	}
	c, wait := forkTest(t, func(s *script) {
		s.wait()
		// A result goes into a later argument: dup gives the descriptor to write to.
		s.add("dup", unix.SYS_DUP, uintptr(theirs)).into(3)
		s.add("write", unix.SYS_WRITE, 0, s.str("kept "), 5).from(3, 0)
		s.add("may fail", unix.SYS_CLOSE, 1<<20).may()
		s.add("stdout", unix.SYS_DUP3, uintptr(theirs), 1, 0)
		s.add("report", unix.SYS_DUP3, uintptr(s.report), childReport, unix.O_CLOEXEC).kind = opMoved
		s.report = childReport
		s.execute(&agentpb.Process{Args: []string{"sh", "-c", "printf '%s' \"$WORD\"; exit 5"}, Env: []string{"PATH=/no/such:/bin:/usr/bin", "WORD=said"}})
	})
	unix.Close(theirs)
	if err := c.reach(); err != nil {
		t.Fatal(err)
	}
	if err := c.proceed(); err != nil {
		t.Fatal(err)
	}
	if err := c.next(); err != io.EOF {
		t.Fatalf("exec: %v", err)
	}
	if b, err := io.ReadAll(out); err != nil || string(b) != "kept said" {
		t.Errorf("%q, %v", b, err)
	}
	if st := wait(); st.ExitStatus() != 5 {
		t.Errorf("status %#x", st)
	}
}

func TestScriptFails(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	os.WriteFile(plain, []byte("x"), 0o644)
	garbage := filepath.Join(dir, "garbage")
	os.WriteFile(garbage, []byte("\x00\x01"), 0o755)
	for _, c := range []struct {
		args []string
		path string
		want unix.Errno
	}{
		{[]string{"no-such-program"}, "/bin:" + dir, unix.ENOENT},
		{[]string{dir + "/none/x"}, "", unix.ENOENT},
		{[]string{plain}, "", unix.EACCES},
		{[]string{"plain"}, dir + ":/no/such", unix.EACCES},
		{[]string{garbage}, "", unix.ENOEXEC},
		{[]string{"garbage"}, dir + ":/bin", unix.ENOEXEC},
	} {
		ch, wait := forkTest(t, func(s *script) {
			s.execute(&agentpb.Process{Args: c.args, Env: []string{"PATH=" + c.path}})
		})
		var e *scriptError
		if err := ch.next(); !errors.As(err, &e) || e.errno != c.want || !e.exec {
			t.Errorf("%v: %v, want %v", c.args, err, c.want)
		}
		if st := wait(); st.ExitStatus() != 127 {
			t.Errorf("%v: status %#x", c.args, st)
		}
	}
	ch, wait := forkTest(t, func(s *script) { s.add("the call", unix.SYS_CLOSE, 1<<20) })
	var e *scriptError
	if err := ch.next(); !errors.As(err, &e) || e.errno != unix.EBADF || e.exec || !strings.Contains(e.Error(), "the call") {
		t.Errorf("close: %v", err)
	}
	wait()
	// An agent that goes away ends a child that waits for it.
	ch, wait = forkTest(t, func(s *script) { s.add("", unix.SYS_DUP3, uintptr(s.start), childStart, unix.O_CLOEXEC); s.wait() })
	ch.start.Close()
	if err := ch.reach(); err != nil {
		t.Fatal(err)
	}
	ch.kill()
	if st := wait(); !st.Signaled() {
		t.Errorf("status %#x", st)
	}
}

func TestCandidates(t *testing.T) {
	for _, c := range []struct{ program, arg, path, want string }{
		{"", "sh", "PATH=/a::b", "/a/sh ./sh b/sh"},
		{"", "./sh", "PATH=/a", "./sh"},
		{"/x/y", "sh", "PATH=/a", "/x/y"},
		{"", "sh", "", "/usr/local/sbin/sh /usr/local/bin/sh /usr/sbin/sh /usr/bin/sh /sbin/sh /bin/sh"},
	} {
		p := &agentpb.Process{Program: c.program, Args: []string{c.arg}}
		if c.path != "" {
			p.Env = []string{"PATH=/first", c.path} // the last one counts
		}
		if got := strings.Join(candidates(p), " "); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestTree(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	os.MkdirAll(filepath.Join(root, "real"), 0o755)
	os.Symlink("/real", filepath.Join(root, "absolute"))
	os.Symlink("../../../../", filepath.Join(root, "up"))
	os.Symlink("/gone", filepath.Join(root, "dangling"))
	fd, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for name, want := range map[string]string{
		"/absolute/a/b": "real/a/b", "up/c": "c", "/../../d": "d", "/real/../e/f": "e/f",
	} {
		got, err := tree(fd).makeDir(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		unix.Close(got)
		if st, err := os.Lstat(filepath.Join(root, want)); err != nil || !st.IsDir() {
			t.Errorf("%s: %s is not there: %v", name, want, err)
		}
	}
	if _, err := tree(fd).makeDir("/dangling/x"); err == nil {
		t.Error("through a link to nothing")
	}
	f, err := tree(fd).makeFile("/up/etc/file")
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(f)
	if _, err := os.Stat(filepath.Join(root, "etc/file")); err != nil {
		t.Error(err)
	}
	if list, _ := os.ReadDir(dir); len(list) != 1 {
		t.Errorf("something was made outside: %v", list)
	}
}

func TestMountOptions(t *testing.T) {
	got := fmt.Sprint(fsOptions("tmpfs", "mode=755,,size=64k,noswap", unix.MS_SYNCHRONOUS|unix.MS_NOSUID))
	if want := "[{source tmpfs false} {sync  true} {mode 755 false} {size 64k false} {noswap  true}]"; got != want {
		t.Errorf("%s", got)
	}
	if a := attrOf(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NOATIME | unix.MS_RELATIME); a != unix.MOUNT_ATTR_RDONLY|unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NOATIME {
		t.Errorf("%#x", a)
	}
	for _, m := range []*agentpb.Mount{
		{Destination: "relative", Type: "tmpfs"}, {Destination: "/", Type: "tmpfs"}, {Destination: "/x/..", Type: "tmpfs"}, {Destination: "/x"},
		{Destination: "/x", Type: "bind"}, {Destination: "/x", Type: "bind", Bind: &agentpb.Bind{}}, {Destination: "/x", Type: "file"},
	} {
		if checkMount(m) == nil {
			t.Errorf("%v: no error", m)
		}
	}
	for name, good := range map[string]bool{"a": true, "a.b-c_d+e": true, "": false, ".": false, "..": false, "a/b": false, "a b": false, strings.Repeat("x", 129): false} {
		if validName(name) != good {
			t.Errorf("name %q", name)
		}
	}
	for _, name := range []string{"a/../b", "../x", "net..core"} {
		if setSysctl(name, "") == nil {
			t.Errorf("sysctl %q: no error", name)
		}
	}
}

// runDevices interprets a device program, as much of eBPF as it uses.
func runDevices(t *testing.T, code []byte, kind, access, major, minor uint32) bool {
	t.Helper()
	ctx := [3]uint32{kind | access<<16, major, minor}
	var r [11]uint64
	for pc, steps := 0, 0; ; steps++ {
		if steps > 4096 || pc*8 >= len(code) {
			t.Fatalf("the program leaves itself at %d", pc)
		}
		i := code[pc*8:]
		dst, src := i[1]&15, i[1]>>4
		off, imm := int16(le.Uint16(i[2:])), le.Uint32(i[4:])
		pc++
		switch i[0] {
		case ldxW:
			r[dst] = uint64(ctx[off/4])
		case movX:
			r[dst] = r[src]
		case movK:
			r[dst] = uint64(int64(int32(imm)))
		case andK32:
			r[dst] = uint64(uint32(r[dst]) & imm)
		case rshK32:
			r[dst] = uint64(uint32(r[dst]) >> imm)
		case jneK32:
			if uint32(r[dst]) != imm {
				pc += int(off)
			}
		case unix.BPF_JMP32 | unix.BPF_JEQ | unix.BPF_K:
			if uint32(r[dst]) == imm {
				pc += int(off)
			}
		case bpfExit:
			return r[0] != 0
		default:
			t.Fatalf("opcode %#x", i[0])
		}
	}
}

func TestDevices(t *testing.T) {
	rules, err := deviceRules([]*agentpb.DeviceRule{
		{Type: "c", Major: 1, Minor: 11, Access: "rwm", Allow: true}, // forgotten at the general denial
		{Type: "a", Major: -1, Minor: -1, Access: "rwm"},
		{Type: "c", Major: 10, Minor: 229, Access: "rw", Allow: true},
		{Type: "b", Major: 8, Minor: -1, Access: "r", Allow: true},
		{Type: "b", Major: 8, Minor: 3, Access: "rwm"},
		{Type: "c", Major: 1, Minor: 7, Access: "w"},
	})
	if err != nil {
		t.Fatal(err)
	}
	code := deviceProgram(rules)
	for _, c := range []struct {
		kind, access, major, minor uint32
		want                       bool
	}{
		{devChar, devRead | devWrite, 1, 3, true}, {devChar, devRead, 136, 77, true}, {devChar, devMknod, 99, 1, true},
		{devChar, devRead, 1, 11, false}, {devChar, devRead | devWrite, 10, 229, true}, {devChar, devRead, 10, 228, false},
		{devBlock, devRead, 8, 0, true}, {devBlock, devRead | devWrite, 8, 0, false}, {devBlock, devRead, 8, 3, false},
		{devChar, devRead, 8, 0, false}, {devChar, devWrite, 1, 7, false}, {devChar, devRead, 1, 7, true},
		{devChar, devRead | devWrite, 1, 7, false}, {devBlock, devMknod, 8, 3, false}, {devBlock, devRead, 254, 0, false},
	} {
		if got := runDevices(t, code, c.kind, c.access, c.major, c.minor); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	all, _ := deviceRules([]*agentpb.DeviceRule{{Allow: true, Type: "a"}})
	if !runDevices(t, deviceProgram(all), devBlock, devAll, 254, 0) {
		t.Error("a general permission")
	}
	if n := len(deviceProgram(all)) / 8; n != 6+2 { // what follows could not be reached, which the verifier refuses
		t.Errorf("a general permission: %d instructions", n)
	}
	if _, err := deviceRules([]*agentpb.DeviceRule{{Type: "x"}}); !errors.Is(err, errInvalid) {
		t.Errorf("type x: %v", err)
	}
}

func TestNetlink(t *testing.T) {
	m := newMessage(unix.RTM_NEWLINK, 0, linkBody(2, unix.IFF_UP, unix.IFF_UP))
	m.attr(unix.IFLA_IFNAME, []byte("eth0\x00"))
	m.attr32(unix.IFLA_MTU, 1400)
	want := "00000000" + "10000500" + "00000000" + "00000000" + // nlmsghdr, its length and number to come
		"00000000" + "02000000" + "01000000" + "01000000" + // ifinfomsg
		"09000300" + hex.EncodeToString([]byte("eth0")) + "00000000" + "08000400" + "78050000"
	if got := hex.EncodeToString(m.b); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if b, err := parseMAC("52:54:00:Ab:cd:ef"); err != nil || !bytes.Equal(b, []byte{0x52, 0x54, 0, 0xab, 0xcd, 0xef}) {
		t.Errorf("%x, %v", b, err)
	}
	for _, s := range []string{"", "52:54:00:12:34", "52:54:00:12:34:5g", "525400123456", "52:54:00:12:34:56:78"} {
		if _, err := parseMAC(s); !errors.Is(err, errInvalid) {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestProcessInfo(t *testing.T) {
	info := processInfo(os.Getpid(), bootTime())
	if info == nil || int(info.VmPid) != os.Getpid() || int(info.Ppid) != os.Getppid() || int(info.Uid) != os.Getuid() || info.Threads == 0 || len(info.Args) == 0 || info.Args[0] != os.Args[0] {
		t.Errorf("%v", info)
	}
	if info := processInfo(1<<22, 0); info != nil {
		t.Errorf("a process that is not there: %v", info)
	}
	if innermost("17\t5\t1") != 1 || innermost("") != 0 {
		t.Error("NSpid")
	}
	if statusField("Name:\tx\nUid:\t1\t2\n", "Uid") != "1\t2" {
		t.Error("status")
	}
	if ttyName(unix.Mkdev(136, 3)) != "pts/3" || ttyName(0) != "" || ttyName(unix.Mkdev(4, 64)) != "4:64" {
		t.Error("tty")
	}
}

func TestIOStats(t *testing.T) {
	file := filepath.Join(t.TempDir(), "io.stat")
	os.WriteFile(file, []byte("254:0 rbytes=4096 wbytes=1 rios=2 wios=3 dbytes=0 dios=0\n7:1\nbad\n"), 0o644)
	got := ioStats(file)
	if len(got) != 1 || got[0].Major != 254 || got[0].ReadBytes != 4096 || got[0].WriteBytes != 1 || got[0].Reads != 2 || got[0].Writes != 3 {
		t.Errorf("%v", got)
	}
	if limit(-1) != "max" || limit(5) != "5" {
		t.Error("limit")
	}
}

func TestCopyUp(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	os.MkdirAll(filepath.Join(from, "d/e"), 0o750)
	os.WriteFile(filepath.Join(from, "d/f"), []byte("text"), 0o640)
	os.Symlink("f", filepath.Join(from, "d/l"))
	fd := func(dir string) int {
		fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	if err := copyUp(fd(from), fd(to)); err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(filepath.Join(to, "d/f"))
	raw, _ := os.ReadFile(filepath.Join(to, "d/l"))
	if err != nil || st.Mode() != 0o640 || string(raw) != "text" {
		t.Errorf("%v %v %q", st, err, raw)
	}
	if st, err := os.Stat(filepath.Join(to, "d/e")); err != nil || st.Mode().Perm() != 0o750 {
		t.Errorf("%v %v", st, err)
	}
}
