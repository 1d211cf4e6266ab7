//go:build vm

package guest

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// TestContainers asks the agent for everything once, in one VM.
func TestContainers(t *testing.T) {
	root := busybox(t)
	v := bootWithRoot(t, root, Erofs,
		"-netdev", "user,id=net,restrict=on", "-device", "virtio-net-device,netdev=net,mac=52:54:00:12:34:56")
	id := 0
	name := func() string { id++; return fmt.Sprintf("c%d", id) }
	sh := func(script string) *agentpb.Container { return config(Erofs, "sh", "-c", script) }
	// want runs a script and compares what it says.
	want := func(t *testing.T, c *agentpb.Container, out string) {
		t.Helper()
		n := name()
		r := v.run(t, n, c, "")
		if r.out != out || r.status != 0 {
			t.Errorf("got %q, want %q (status %#x, stderr %q)", r.out, out, r.status, r.err)
		}
		call(t, v.Agent().Remove, &agentpb.ContainerRequest{ContainerId: n})
	}

	t.Run("status", func(t *testing.T) {
		if r := v.run(t, name(), sh("exit 7"), ""); r.status.ExitStatus() != 7 {
			t.Errorf("exit 7: %#x", r.status)
		}
		if r := v.run(t, name(), sh("sh -c 'kill -9 $$'; echo $?"), ""); r.out != "137\n" {
			t.Errorf("kill -9 of a child: %+v", r)
		}
	})
	t.Run("stdin", func(t *testing.T) {
		in := strings.Repeat("0123456789abcdef", 20000)
		r := v.run(t, name(), config(Erofs, "cat"), in)
		if r.out != in {
			t.Errorf("cat gave %d bytes of %d", len(r.out), len(in))
		}
	})
	t.Run("stderr", func(t *testing.T) {
		if r := v.run(t, name(), sh("echo out; echo err >&2"), ""); r.out != "out\n" || r.err != "err\n" {
			t.Errorf("%+v", r)
		}
	})
	t.Run("no program", func(t *testing.T) {
		for _, start := range []bool{false, true} {
			st := call(t, v.Agent().Create, &agentpb.CreateRequest{ContainerId: "none", Container: config(Erofs, "no-such"), Start: start})
			if unix.Errno(st.Errno) != unix.ENOENT || !strings.Contains(st.Error, "no-such") {
				t.Errorf("start %v: %v", start, st)
			}
		}
		st := call(t, v.Agent().Create, &agentpb.CreateRequest{ContainerId: "none", Container: config(Erofs, "/etc"), Start: true})
		if unix.Errno(st.Errno) != unix.EACCES {
			t.Errorf("a directory: %v", st)
		}
	})
	t.Run("namespaces", func(t *testing.T) {
		want(t, sh("echo $$; hostname; set -- /proc/[0-9]*; echo $#; cat /proc/self/cgroup; cat /proc/sys/kernel/shmmni; cat /etc/resolv.conf; pwd"),
			"1\nbox\n1\n0::/\n77\nnameserver 192.0.2.1\n/\n")
	})
	t.Run("user", func(t *testing.T) {
		c := sh("id -u; id -g; id -G; umask; grep -E 'Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp:' /proc/self/status; ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; pwd")
		umask, oom := uint32(0o27), int32(55)
		p := c.Process
		p.Uid, p.Gid, p.Gids, p.Umask, p.NoNewPrivs, p.OomScoreAdj, p.Cwd = 1000, 1001, []uint32{5, 6}, &umask, true, &oom, "/srv/dir"
		p.Capabilities = &agentpb.Capabilities{Bounding: 0x421, Permitted: 0x421, Effective: 0x20, Inheritable: 0x400, Ambient: 0x400}
		want(t, c, "1000\n1001\n1001 5 6\n0027\nCapInh:\t0000000000000400\nCapPrm:\t0000000000000400\nCapEff:\t0000000000000400\n"+
			"CapBnd:\t0000000000000421\nCapAmb:\t0000000000000400\nNoNewPrivs:\t1\nSeccomp:\t0\n2048\n4096\n55\n/srv/dir\n")
	})
	t.Run("root's capabilities", func(t *testing.T) {
		want(t, sh("grep -E 'Cap(Prm|Eff|Bnd|Amb)' /proc/self/status; ulimit -n"),
			"CapPrm:\t00000000a80425fb\nCapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nCapAmb:\t0000000000000000\n2048\n")
	})
	t.Run("seccomp", func(t *testing.T) {
		c := sh("mkdir /tmp/x; echo $?; grep Seccomp: /proc/self/status")
		c.Seccomp = &agentpb.Seccomp{Filter: denyMkdir()}
		want(t, c, "1\nSeccomp:\t2\n")
		c = sh("mkdir /tmp/x; echo $?")
		c.Seccomp = &agentpb.Seccomp{Filter: denyMkdir()}
		c.Process.Uid = 7
		c.Process.Capabilities = nil
		want(t, c, "1\n")
	})
	t.Run("masks", func(t *testing.T) {
		want(t, sh("wc -c </proc/kcore; ls /sys/firmware | wc -l; echo 1 >/proc/sys/kernel/panic 2>/dev/null; echo $?; echo b >/proc/sysrq-trigger 2>/dev/null; echo $?"),
			"0\n0\n1\n1\n")
	})
	t.Run("devices", func(t *testing.T) {
		c := sh("ls /dev | tr '\\n' ' '; echo; echo x >/dev/null && head -c 3 /dev/zero | wc -c; mknod /tmp/k c 1 2; cat /tmp/k 2>&1 | sed 's/.*: //'; mknod /tmp/d b 254 0; cat /tmp/d 2>&1 | sed 's/.*: //'; stat -c '%a %u' /dev/fuse")
		mode := uint32(unix.S_IFCHR | 0o640)
		c.Devices = []*agentpb.Device{{Path: "/dev/fuse", Mode: mode, Major: 10, Minor: 229, Uid: 3}}
		want(t, c, "fd full fuse mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero \n3\nOperation not permitted\nOperation not permitted\n640 3\n")
		c = sh("mknod /tmp/k b $(tr : ' ' </sys/block/vda/dev) && head -c 1 /tmp/k | wc -c; echo x 2>/dev/null >/tmp/k; echo $?")
		c.Resources = &agentpb.Resources{Devices: []*agentpb.DeviceRule{{Type: "a", Major: -1, Minor: -1, Access: "rwm"}, {Allow: true, Type: "b", Major: -1, Minor: 0, Access: "rm"}}}
		want(t, c, "1\n1\n")
	})
	t.Run("read-only root", func(t *testing.T) {
		c := sh("touch /x 2>/dev/null; echo $?; touch /dev/shm/x; echo $?")
		c.Root.Readonly = true
		want(t, c, "1\n0\n")
	})
	t.Run("user namespace", func(t *testing.T) {
		c := sh("id -u; cat /proc/self/uid_map | tr -s ' '; touch /tmp/x && stat -c %u /tmp/x; hostname other && hostname; mount -t tmpfs t /tmp && echo mounted; set -- /proc/[0-9]*; echo $#")
		c.Namespaces.User = true
		c.Namespaces.UidMap = []*agentpb.IDMap{{Container: 0, Host: 0, Size: 1}, {Container: 1, Host: 100001, Size: 1000}}
		c.Namespaces.GidMap = c.Namespaces.UidMap
		all := uint64(1<<41 - 1)
		c.Process.Capabilities = &agentpb.Capabilities{Bounding: all, Effective: all, Permitted: all}
		want(t, c, "0\n 0 0 1\n 1 100001 1000\n0\nother\nmounted\n1\n")
	})
	t.Run("exec in a user namespace", func(t *testing.T) {
		n := name()
		c := sh("sleep 1000")
		c.Namespaces.User = true
		c.Namespaces.UidMap = []*agentpb.IDMap{{Container: 0, Host: 100000, Size: 1000}}
		c.Namespaces.GidMap = c.Namespaces.UidMap
		call(t, v.Agent().Create, &agentpb.CreateRequest{ContainerId: n, Container: c, Start: true})
		p := config(Erofs, "sh", "-c", "id -u; id -g; tr -s ' ' </proc/self/uid_map").Process
		p.Uid, p.Gid = 7, 8
		if r := v.exec(t, n, "x", p); r.out != "7\n8\n 0 100000 1000\n" {
			t.Errorf("%+v", r)
		}
		list := call(t, v.Agent().Processes, &agentpb.ContainerRequest{ContainerId: n}).Processes
		if len(list) != 1 || list[0].Uid != 100000 {
			t.Errorf("Processes: %v", list)
		}
	})
	t.Run("mount options", func(t *testing.T) {
		c := sh("cat /tmp/seed; touch /tmp/x && echo written; stat -c %a /tmp; touch /ro/x 2>/dev/null; echo $?; touch /shared/x 2>/dev/null; echo $?; grep -E ' /(ro|tmp|shared) ' /proc/self/mountinfo | cut -d' ' -f5-7 | sed 's/shared:.*/shared:/' | sort")
		c.Mounts = append(c.Mounts,
			&agentpb.Mount{Destination: "/tmp/seed", Type: "file", File: &agentpb.File{Content: []byte("grown\n"), Mode: 0o600}},
			&agentpb.Mount{Destination: "/tmp", Type: "tmpfs", Source: "t", Data: "size=1m,mode=1770", CopyUp: true, Flags: unix.MS_NODEV | unix.MS_NOATIME},
			&agentpb.Mount{Destination: "/ro", Type: "tmpfs", Source: "t", RecursiveSet: unix.MOUNT_ATTR_RDONLY},
			&agentpb.Mount{Destination: "/shared", Type: "bind", Bind: &agentpb.Bind{SharedDir: "opts"}, RecursiveSet: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOEXEC, Propagation: unix.MS_SHARED})
		want(t, c, "grown\nwritten\n755\n1\n1\n/ro ro,relatime -\n/shared ro,nosuid,nodev,noexec,relatime shared:\n/tmp rw,nodev,noatime -\n")
	})
	t.Run("terminal", func(t *testing.T) {
		c := sh("tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all; ls -l /dev/console | cut -c1; read x; echo got $x; stty size")
		c.Process.Terminal, c.Process.Rows, c.Process.Cols = true, 30, 100
		n := name()
		var streams agentpb.Streams
		_, tty := v.stream(t, &streams.Stdin)
		call(t, v.Agent().Create, &agentpb.CreateRequest{ContainerId: n, Container: c, Streams: &streams})
		call(t, v.Agent().Start, &agentpb.StartRequest{ContainerId: n})
		call(t, v.Agent().Resize, &agentpb.ResizeRequest{ContainerId: n, Rows: 40, Cols: 120})
		io.WriteString(tty, "word\n")
		b, _ := io.ReadAll(tty)
		got := strings.ReplaceAll(string(b), "\r\n", "\n")
		got = strings.Replace(got, "word\n", "", 1) // the echo comes when it comes
		if got != "/dev/pts/0\n30 100\nall\nc\ngot word\n40 120\n" && got != "/dev/pts/0\n40 120\nall\nc\ngot word\n40 120\n" {
			t.Errorf("terminal: %q", got)
		}
	})
	t.Run("exec", func(t *testing.T) {
		n := name()
		c := sh("sleep 1000")
		call(t, v.Agent().Create, &agentpb.CreateRequest{ContainerId: n, Container: c})
		p := config(Erofs, "sh", "-c", "echo $$ >/dev/shm/first; hostname; cat /proc/self/cgroup; exit 3").Process
		if r := v.exec(t, n, "early", p); r.out != "box\n0::/\n" || r.status.ExitStatus() != 3 { // before start
			t.Errorf("exec before start: %+v", r)
		}
		call(t, v.Agent().Start, &agentpb.StartRequest{ContainerId: n})
		if r := v.exec(t, n, "none", config(Erofs, "no-such").Process); !strings.Contains(r.err, "no such") {
			t.Errorf("exec of nothing: %+v", r)
		}
		user := config(Erofs, "sh", "-c", "id -u; set -- /proc/[0-9]*; echo $#").Process
		user.Uid, user.Capabilities = 33, nil
		if r := v.exec(t, n, "user", user); r.out != "33\n2\n" {
			t.Errorf("exec as a user: %+v", r)
		}
		list := call(t, v.Agent().Processes, &agentpb.ContainerRequest{ContainerId: n}).Processes
		if len(list) != 1 || list[0].Pid != 1 || list[0].Comm != "sleep" && list[0].Comm != "sh" {
			t.Errorf("Processes: %v", list)
		}
		for _, paused := range []bool{true, false} {
			if paused {
				call(t, v.Agent().Pause, &agentpb.ContainerRequest{ContainerId: n})
			} else {
				call(t, v.Agent().Resume, &agentpb.ContainerRequest{ContainerId: n})
			}
		}
		limit := int64(64 << 20)
		call(t, v.Agent().Update, &agentpb.UpdateRequest{ContainerId: n, Resources: &agentpb.Resources{MemoryLimit: &limit}})
		st := call(t, v.Agent().Stats, &agentpb.ContainerRequest{ContainerId: n})
		if st.MemoryMax != uint64(limit) || st.Pids == 0 || st.MemoryCurrent == 0 || st.CpuNanos == 0 {
			t.Errorf("Stats: %v", st)
		}
		// The first process of a PID namespace has no default actions.
		call(t, v.Agent().Signal, &agentpb.SignalRequest{ContainerId: n, Signal: uint32(unix.SIGTERM)})
		call(t, v.Agent().Signal, &agentpb.SignalRequest{ContainerId: n, Signal: uint32(unix.SIGKILL)})
		w := unix.WaitStatus(call(t, v.Agent().Wait, &agentpb.WaitRequest{ContainerId: n}).Status)
		if !w.Signaled() || w.Signal() != unix.SIGKILL {
			t.Errorf("killed: %#x", w)
		}
		wantCode(t, codes.FailedPrecondition, func(ctx context.Context) error {
			_, err := v.Agent().Exec(ctx, &agentpb.ExecRequest{ContainerId: n, ExecId: "late", Process: p})
			return err
		})
		call(t, v.Agent().Remove, &agentpb.ContainerRequest{ContainerId: n})
		wantCode(t, codes.NotFound, func(ctx context.Context) error {
			_, err := v.Agent().Wait(ctx, &agentpb.WaitRequest{ContainerId: n})
			return err
		})
	})
	t.Run("init killable", func(t *testing.T) {
		n := name()
		c := config(Erofs, "sleep", "1000")
		c.InitKillable = true
		call(t, v.Agent().Create, &agentpb.CreateRequest{ContainerId: n, Container: c, Start: true})
		call(t, v.Agent().Signal, &agentpb.SignalRequest{ContainerId: n, Signal: uint32(unix.SIGTERM)})
		w := unix.WaitStatus(call(t, v.Agent().Wait, &agentpb.WaitRequest{ContainerId: n}).Status)
		if !w.Signaled() || w.Signal() != unix.SIGTERM {
			t.Errorf("terminated: %#x", w)
		}
	})
	t.Run("limits", func(t *testing.T) {
		n := name()
		c := sh("i=0; while [ $i -lt 20 ]; do sleep 100 & i=$((i+1)); done; echo all")
		limit := int64(8)
		c.Resources = &agentpb.Resources{PidsLimit: &limit}
		if r := v.run(t, n, c, ""); strings.Contains(r.out, "all") || !strings.Contains(r.err, "fork") {
			t.Errorf("pids: %+v", r)
		}
		mem := int64(16 << 20)
		c = sh("head -c 40000000 /dev/zero >/dev/shm/big; echo survived")
		c.Resources = &agentpb.Resources{MemoryLimit: &mem}
		n = name()
		r := v.run(t, n, c, "")
		w := call(t, v.Agent().Wait, &agentpb.WaitRequest{ContainerId: n})
		if !w.OomKilled {
			t.Errorf("memory: %+v, %v", r, w)
		}
		for { // events of containers that ended before are among them
			e := call(t, v.Agent().NextEvent, &agentpb.Empty{})
			if e.Kind == agentpb.Event_OOM {
				if e.ContainerId != n {
					t.Errorf("OOM of %s, want %s", e.ContainerId, n)
				}
				break
			}
		}
	})
	t.Run("pod", func(t *testing.T) {
		a, b := sh("echo one >/pod/f; exec sleep 1000"), sh("while ! grep -q sleep /proc/1/comm; do sleep 0.01; done; cat /pod/f; hostname")
		for _, c := range []*agentpb.Container{a, b} {
			c.Mounts = append(c.Mounts, &agentpb.Mount{Destination: "/pod", Type: "bind", Bind: &agentpb.Bind{SharedDir: "empty"}})
			c.Namespaces.Uts, c.Namespaces.Ipc = agentpb.Namespaces_VM, agentpb.Namespaces_VM
			c.Sysctl = nil
		}
		first := name()
		host := "pod"
		call(t, v.Agent().Create, &agentpb.CreateRequest{ContainerId: first, Container: a, Start: true, Sandbox: &agentpb.Sandbox{Hostname: &host}})
		b.Namespaces.PidOf = first
		want(t, b, "one\npod\n")
	})
	t.Run("network", func(t *testing.T) {
		call(t, v.Agent().Configure, &agentpb.Sandbox{Network: &agentpb.Network{
			Interfaces: []*agentpb.Interface{{Mac: "52:54:00:12:34:56", Name: "eth0", Mtu: 1400, Addresses: []string{"10.0.2.15/24", "fd00::15/64"}}},
			Routes:     []*agentpb.Route{{Destination: "0.0.0.0/0", Gateway: "10.0.2.2", Interface: "eth0"}, {Destination: "10.9.0.0/16", Gateway: "10.0.2.3", Metric: 7}},
		}})
		want(t, sh("ip -4 -o addr show eth0 | tr -s ' ' | cut -d' ' -f4; ip route | sort | tr -s ' ' | sed 's/ *$//'; cat /sys/class/net/eth0/mtu; ip -6 -o addr show eth0 | grep -c fd00; ip link show lo | grep -c UP"),
			"10.0.2.15/24\n10.0.2.0/24 dev eth0 scope link src 10.0.2.15\n10.9.0.0/16 via 10.0.2.3 dev eth0 metric 7\ndefault via 10.0.2.2 dev eth0\n1400\n1\n1\n")
	})
	t.Run("time and random", func(t *testing.T) {
		at := time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC)
		call(t, v.Agent().SetTime, &agentpb.Time{UnixNanos: at.UnixNano()})
		want(t, sh("date -u +%Y-%m-%d"), "2031-02-03\n")
		call(t, v.Agent().Reseed, &agentpb.ReseedRequest{Random: make([]byte, 64)})
	})
	t.Run("refused", func(t *testing.T) {
		bad := sh("true")
		bad.Mounts = append(bad.Mounts, &agentpb.Mount{Destination: "/x", Type: "nosuchfs"})
		err := wantCode(t, codes.Unimplemented, func(ctx context.Context) error {
			_, err := v.Agent().Create(ctx, &agentpb.CreateRequest{ContainerId: "bad", Container: bad})
			return err
		})
		if err != nil && !strings.Contains(err.Error(), "nosuchfs") {
			t.Errorf("does not name it: %v", err)
		}
		bad = sh("true")
		bad.Mounts = append(bad.Mounts, &agentpb.Mount{Destination: "/x", Type: "tmpfs", Data: "colour=red"})
		err = wantCode(t, codes.InvalidArgument, func(ctx context.Context) error {
			_, err := v.Agent().Create(ctx, &agentpb.CreateRequest{ContainerId: "bad", Container: bad})
			return err
		})
		if err != nil && !strings.Contains(err.Error(), "colour") {
			t.Errorf("does not name it: %v", err)
		}
	})
	t.Run("nothing is left", func(t *testing.T) {
		for i := 1; i <= id; i++ {
			call(t, v.Agent().Remove, &agentpb.ContainerRequest{ContainerId: fmt.Sprintf("c%d", i)})
		}
		if st := call(t, v.Agent().Stats, &agentpb.ContainerRequest{}); st.VmMemoryAvailable < 100<<20 {
			t.Errorf("of %d MiB of the VM %d are free", st.VmMemoryTotal>>20, st.VmMemoryAvailable>>20)
		}
	})
	call(t, v.Agent().Shutdown, &agentpb.Empty{})
	v.wantEnd(t, "after Shutdown")
}

func wantCode(t *testing.T, code codes.Code, f func(context.Context) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	err := f(ctx)
	if status.Code(err) != code {
		t.Errorf("error %v, want %v", err, code)
	}
	return err
}

// denyMkdir is a filter: mkdir(2) gives EPERM, the rest passes.
func denyMkdir() []byte {
	var out []byte
	for _, f := range []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: unix.SYS_MKDIR},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x00050000 | uint32(unix.EPERM)},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0x7fff0000},
	} {
		out = append(out, byte(f.Code), byte(f.Code>>8), f.Jt, f.Jf, byte(f.K), byte(f.K>>8), byte(f.K>>16), byte(f.K>>24))
	}
	return out
}
