package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// vmColumn is our own VM wall.
const vmColumn = "bulkhead-vm"

// tour traces the VM wall's processes from their first instruction through what
// they do: a boot with a volume and the workload on it; a template made, saved
// and restored, with a network; exec, pause, update, the end.
func (a *auditor) tour(ctx context.Context, w *Wall) {
	if a.program == "" {
		return
	}
	a.say("%s: a tour under trace", w.Title)
	ctx, cancel := context.WithTimeout(ctx, 6*time.Minute)
	defer cancel()
	t := &tourist{a: a, w: w, ctx: ctx, dir: filepath.Join(a.place.Dir, "tour"), id: fmt.Sprint("audit-tour-", os.Getpid())}
	roles := map[string]*doings{}
	var all []*doings
	for _, role := range []string{roleHypervisor, roleVirtiofsd, roleMonitor} {
		roles[role] = newDoings(role, a.rules)
		all = append(all, roles[role])
	}
	stop, done := make(chan struct{}), make(chan error, 1)
	f := &tracer{rules: map[int]*doings{}, owner: map[int]int{}, later: map[int]*doings{}, role: func(pid int) *doings {
		comm, cmdline := processName(pid)
		return roles[roleOf(&Column{Kernel: onVM}, comm, cmdline)]
	}}
	go func() { done <- f.followMonitors(t.id, roles[roleMonitor], stop) }()
	t.walk()
	close(stop)
	select {
	case err := <-done:
		if err != nil {
			a.rec.note("%s: the trace ended early: %v.", w.Title, err)
		}
	case <-time.After(30 * time.Second):
		a.rec.note("%s: the traced processes did not end.", w.Title)
		return
	}
	a.count(w, all)
}

// followMonitors traces each monitor of a VM that is started with id in its
// parent's arguments or its own, and all that comes of it, one after the other.
// What a monitor does itself counts from its filter on.
func (t *tracer) followMonitors(id string, own *doings, stop <-chan struct{}) error {
	runtime.LockOSThread()
	seen := map[int]bool{}
	for {
		select {
		case <-stop:
			return nil
		case <-time.After(2 * time.Millisecond):
		}
		for _, pid := range monitorsOf(id, seen) {
			t.rules[pid], t.later[pid] = nil, own
			if err := t.seizeAll(); err != nil {
				return err
			}
			if err := t.loop(); err != nil {
				return err
			}
			t.owner = map[int]int{}
			for pid, u := range t.rules {
				if u == nil {
					delete(t.rules, pid)
				}
			}
		}
	}
}

// monitorsOf finds monitors that were not seen yet and whose parent is the
// command that has id among its arguments.
func monitorsOf(id string, seen map[int]bool) []int {
	var out []int
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		var pid int
		fmt.Sscan(filepath.Base(d), &pid)
		if seen[pid] {
			continue
		}
		_, cmdline := processName(pid)
		argv := strings.Fields(cmdline)
		if len(argv) < 2 || !strings.HasPrefix(filepath.Base(argv[0]), "bulkhead") || argv[1] != "monitor" {
			continue
		}
		raw, _ := os.ReadFile(d + "/status")
		_, rest, _ := bytes.Cut(raw, []byte("\nPPid:\t"))
		var parent int
		fmt.Sscan(string(rest), &parent)
		seen[pid] = true
		if _, by := processName(parent); strings.Contains(by, id) {
			out = append(out, pid)
		}
	}
	return out
}

// tourist runs the commands of a tour.
type tourist struct {
	a       *auditor
	w       *Wall
	ctx     context.Context
	dir, id string
}

func (t *tourist) walk() {
	if err := os.MkdirAll(filepath.Join(t.dir, "volume"), 0o777); err != nil {
		t.a.rec.note("%s: no tour: %v.", t.w.Title, err)
		return
	}
	os.Chmod(filepath.Join(t.dir, "volume"), 0o777)
	t.bundle("boot", workload, filepath.Join(t.dir, "volume"), "")
	t.do("run", "--bundle", filepath.Join(t.dir, "boot"), t.id)
	net, end, err := network()
	if err != nil {
		t.a.rec.note("%s: the tour has no network: %v.", t.w.Title, err)
	}
	defer end()
	t.bundle("template", "sleep 1000", "", net)
	for _, args := range [][]string{
		{"create", "--bundle", filepath.Join(t.dir, "template"), t.id}, {"start", t.id}, {"exec", t.id, "/bin/sh", "-c", "head -c 3000000 /bin/sh | wc -c"},
		{"pause", t.id}, {"resume", t.id}, {"events", "--stats", t.id}, {"update", "--memory", "268435456", t.id}, {"kill", t.id, "KILL"}, {"delete", "--force", t.id},
	} {
		t.do(args...)
	}
}

// do runs one command of ours.
func (t *tourist) do(args ...string) {
	// A file, not a pipe: what create leaves running would hold it open.
	log, err := os.Create(filepath.Join(t.dir, "log"))
	if err != nil {
		t.a.rec.note("%s: the tour: %v.", t.w.Title, err)
		return
	}
	defer log.Close()
	cmd := exec.CommandContext(t.ctx, t.a.program, append([]string{"--root", filepath.Join(t.dir, "state")}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		out, _ := os.ReadFile(log.Name())
		t.a.rec.note("%s: a part of the tour failed: %s: %v: %s", t.w.Title, args[0], err, lastLine(out))
	}
}

func lastLine(out []byte) string {
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return lines[len(lines)-1]
}

// bundle writes a bundle that runs a script.
func (t *tourist) bundle(name, script, volume, netns string) {
	type object = map[string]any
	root := "image"
	if t.a.place.RootFS == "/" {
		root = "share"
	}
	mounts := []object{{"destination": "/proc", "type": "proc", "source": "proc"}, {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
		{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}, {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"}}
	if volume != "" {
		mounts = append(mounts, object{"destination": "/mnt/scratch", "type": "bind", "source": volume, "options": []string{"rbind", "rw"}})
	}
	network := object{"type": "network"}
	if netns != "" {
		network["path"] = netns
	}
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_MKNOD", "CAP_SETGID", "CAP_SETUID", "CAP_KILL"}
	raw, err := json.Marshal(object{
		"ociVersion": "1.0.2", "hostname": "tour", "root": object{"path": t.a.place.RootFS, "readonly": true}, "mounts": mounts,
		"annotations": object{"dev.bulkhead.wall": "vm", "dev.bulkhead.vm.root": root, "dev.bulkhead.vm.owner": t.id},
		"process": object{"args": []string{"/bin/sh", "-c", script}, "cwd": "/", "env": []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"},
			"capabilities": object{"bounding": caps, "effective": caps, "permitted": caps}},
		"linux": object{"namespaces": []object{{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, network}},
	})
	dir := filepath.Join(t.dir, name)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), raw, 0o600)
	}
	if err != nil {
		t.a.rec.note("%s: the tour's bundle: %v.", t.w.Title, err)
	}
}

// network makes a network namespace with one interface that is up; end removes
// both.
func network() (path string, end func(), err error) {
	end = func() {}
	for _, p := range []string{"ip", "nsenter"} {
		if _, err := exec.LookPath(p); err != nil {
			return "", end, errors.New(p + " is not installed")
		}
	}
	holder := exec.Command("sleep", "1000")
	holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	if err := holder.Start(); err != nil {
		return "", end, err
	}
	end = func() { holder.Process.Kill(); holder.Wait() }
	pid := fmt.Sprint(holder.Process.Pid)
	for _, line := range []string{"ip link add bhtour" + pid + " type veth peer name eth0 netns " + pid, "ip link set bhtour" + pid + " up",
		"nsenter -t " + pid + " -n ip addr add 10.231.78.2/24 dev eth0", "nsenter -t " + pid + " -n ip link set eth0 up"} {
		f := strings.Fields(line)
		if out, err := exec.Command(f[0], f[1:]...).CombinedOutput(); err != nil {
			end()
			return "", func() {}, fmt.Errorf("%s: %v: %s", line, err, lastLine(out))
		}
	}
	return "/proc/" + pid + "/ns/net", end, nil
}
