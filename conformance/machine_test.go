package conformance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is the VM wall: one container in one VM, made when it is first needed. Each command is an exec into it, since a VM takes
// seconds to boot where the host's processor runs none by itself. One command at a time.
//
// The container has the host's root, read-only below an overlay in the guest's memory, and base as a volume. It is as `bulkhead do`
// makes one: every capability, no seccomp filter, no masked path.
type machine struct {
	s      sandbox
	run    string // its directory, or "" while there is no VM
	mark   string
	before map[string]bool
	left   []string // what a VM that has ended left over
	kernel version
}

// version is a kernel's: major and minor.
type version struct{ major, minor int }

func (v version) less(than version) bool {
	return v.major < than.major || v.major == than.major && v.minor < than.minor
}

// parseVersion reads "6.1" and "6.1.0-56-cloud-amd64".
func parseVersion(s string) (version, bool) {
	parts := strings.SplitN(s, ".", 3)
	if len(parts) < 2 {
		return version{}, false
	}
	digits := parts[1]
	if i := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits = digits[:i]
	}
	major, err1 := strconv.Atoi(parts[0])
	minor, err2 := strconv.Atoi(digits)
	return version{major, minor}, err1 == nil && err2 == nil
}

// machineID is also the name of its cgroup.
var machineID = fmt.Sprint("conform-", os.Getpid())

// caseLimit: a translated processor is some twenty times slower, and its machine may be busy.
func (m *machine) caseLimit() time.Duration { return 6 * caseLimit }

func (m *machine) command(argv []string, dir string, env []string) (*exec.Cmd, func() []string, error) {
	if err := m.up(); err != nil {
		return nil, nil, err
	}
	args := []string{"exec", "--cwd", dir}
	for _, e := range append(env, "PATH="+os.Getenv("PATH")) {
		args = append(args, "--env", e)
	}
	cmd := m.bulkhead(append(append(args, machineID), argv...)...)
	done := func() []string {
		// Who was killed for being silent left its processes inside.
		if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			m.end()
		}
		left := m.left
		m.left = nil
		return left
	}
	return cmd, done, nil
}

func (m *machine) bulkhead(args ...string) *exec.Cmd {
	root := filepath.Join(m.run, "state")
	cmd := exec.Command(m.s.binary, append([]string{"--root", root}, args...)...)
	cmd.Env = append(os.Environ(), m.mark, "XDG_RUNTIME_DIR="+root, "TMPDIR="+filepath.Join(m.run, "tmp"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// say runs one command of bulkhead's that ends by itself. The output goes to a file: a container that it leaves would hold a pipe open.
func (m *machine) say(args ...string) (string, error) {
	out, err := os.CreateTemp(m.run, "out")
	if err != nil {
		return "", err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd := m.bulkhead(args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err = start(cmd); err == nil {
		defer time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() }).Stop()
		err = wait(cmd)
	}
	text, _ := os.ReadFile(out.Name())
	if err != nil {
		return "", fmt.Errorf("bulkhead %s: %w: %s", args[0], err, bytes.TrimSpace(text))
	}
	return string(text), nil
}

// up makes a VM if there is none that runs.
func (m *machine) up() error {
	if m.run != "" {
		out, err := m.say("state", machineID)
		if err == nil && strings.Contains(out, `"running"`) {
			return nil
		}
		m.end()
	}
	run, err := os.MkdirTemp(m.s.base, "machine")
	if err != nil {
		return err
	}
	m.run, m.mark, m.before = run, "CONFORM_MARK="+filepath.Base(run), mounts()
	bundle := filepath.Join(run, "bundle")
	for _, d := range []string{bundle, filepath.Join(run, "state"), filepath.Join(run, "tmp")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			return err
		}
	}
	raw, err := json.Marshal(m.config())
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), raw, 0o644); err != nil {
		return err
	}
	log := filepath.Join(run, "log")
	if _, err := m.say("run", "--detach", "--debug-log", log, "--bundle", bundle, machineID); err != nil {
		raw, _ := os.ReadFile(log) // how far the machine had come
		return fmt.Errorf("%w\n%s", err, raw[max(0, len(raw)-4000):])
	}
	release, err := m.say("exec", machineID, "/bin/uname", "-r")
	if err != nil {
		return err
	}
	var ok bool
	if m.kernel, ok = parseVersion(release); !ok {
		return fmt.Errorf("the guest's kernel calls itself %q", release)
	}
	return nil
}

// end ends the VM and looks for what is left of it.
func (m *machine) end() {
	if m.run == "" {
		return
	}
	if _, err := m.say("delete", "--force", machineID); err != nil {
		m.left = append(m.left, err.Error())
	}
	root, tmp := filepath.Join(m.run, "state"), filepath.Join(m.run, "tmp")
	m.left = append(m.left, leftover(m.mark, root, tmp, m.before)...)
	os.RemoveAll(m.run)
	m.run = ""
}

func (m *machine) config() map[string]any {
	type object = map[string]any
	mount := func(dst, kind string, options ...string) object {
		return object{"destination": dst, "type": kind, "source": kind, "options": options}
	}
	var namespaces []object
	for _, n := range []string{"pid", "network", "ipc", "uts", "mount", "cgroup"} {
		namespaces = append(namespaces, object{"type": n})
	}
	caps := allCapabilities()
	return object{
		"ociVersion": "1.2.0",
		"annotations": object{
			"dev.bulkhead.wall": "vm", "dev.bulkhead.vm.root": "share", "dev.bulkhead.overlay": "memory",
			"dev.bulkhead.vm.memory": strconv.Itoa(1 << 30),
		},
		"root":     object{"path": "/"},
		"hostname": "conform",
		"process": object{
			"user": object{"uid": 0, "gid": 0}, "cwd": "/", "env": []string{"PATH=" + os.Getenv("PATH")},
			"args":         []string{"/bin/bash", "-c", "trap exit TERM; while :; do sleep 1000 & wait $!; done"}, // reaps orphans
			"capabilities": object{"bounding": caps, "effective": caps, "permitted": caps},
		},
		"mounts": []object{
			mount("/proc", "proc", "nosuid", "noexec", "nodev"),
			mount("/sys", "sysfs", "nosuid", "noexec", "nodev", "ro"),
			mount("/sys/fs/cgroup", "cgroup2", "nosuid", "noexec", "nodev", "ro"),
			mount("/dev", "tmpfs", "nosuid", "mode=755"),
			mount("/dev/pts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
			mount("/dev/shm", "tmpfs", "nosuid", "nodev", "mode=1777"),
			mount("/dev/mqueue", "mqueue", "nosuid", "noexec", "nodev"),
			{"destination": base, "type": "bind", "source": base, "options": []string{"rbind", "rw"}},
		},
		"linux": object{
			"namespaces": namespaces,
			// A device without a driver says so, and not that it may not be opened.
			"resources": object{"devices": []object{{"allow": true, "access": "rwm"}}},
		},
	}
}

func allCapabilities() []string {
	var out []string
	for _, c := range strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
		NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT
		SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
		MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`) {
		out = append(out, "CAP_"+c)
	}
	return out
}

// needMachine says why no VM can be had here, if so.
func needMachine(t *testing.T) {
	t.Helper()
	if nativeOnly() {
		t.Skip("on demand: without CONFORM_NATIVE_ONLY")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: the VM wall serves the host's root to nobody else")
	}
	for _, f := range []string{"/usr/bin/qemu-system-x86_64", "/usr/lib/qemu/virtiofsd", "/boot/vmlinuz-*"} {
		if list, _ := filepath.Glob(f); len(list) == 0 {
			t.Skipf("missing: %s; scripts/setup-test.sh", f)
		}
	}
}

// everythingVM says whether all is to run behind the VM wall, or the quick part.
func everythingVM() bool { return os.Getenv("BULKHEAD_VM_FULL") != "" }
