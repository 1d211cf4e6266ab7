package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// script is a whole program, run in a container of each runtime over the
// host's root, read-only, with a tmpfs on /tmp.
type script struct {
	name, sh, want string
	limit          float64
	warm           bool // run it on the host first: the kernel may have dropped what it reads
}

var scripts = []script{
	{"run of true, whole OCI life", "true", "", 1, false},
	{"find /usr -type f, cold start included", "find /usr -type f | wc -l", "", 2, true},
	{"git over 2,000 files", `cd /tmp && mkdir r && cd r && git init -q . && i=0 && while [ $i -lt 2000 ]; do echo $i > f$i; i=$((i+1)); done &&
git add . && git -c user.name=a -c user.email=a@b commit -qm m && git log --oneline | wc -l`, "1", 2, false},
	{"sysbench cpu", "command -v sysbench >/dev/null || exit 0; sysbench cpu --cpu-max-prime=5000 --time=0 --events=20000 run >/dev/null", "", 1.02, false},
}

// private executes the program again in a mount namespace of its own, for root.
func private() error {
	if os.Geteuid() != 0 || os.Getenv("BENCH_PRIVATE") != "" {
		return nil
	}
	path, err := exec.LookPath("unshare")
	if err != nil {
		return err
	}
	argv := append([]string{"unshare", "-m", "--propagation", "private"}, os.Args...)
	return syscall.Exec(path, argv, append(os.Environ(), "BENCH_PRIVATE=1"))
}

// bindRoot shows the host's root, read-only, at dir: runc cannot have / itself.
func bindRoot(dir string) error {
	if err := syscall.Mount("/", dir, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding / to %s: %w", dir, err)
	}
	if err := syscall.Mount("", dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		syscall.Unmount(dir, 0)
		return fmt.Errorf("making %s read-only: %w", dir, err)
	}
	return nil
}

// programs compares whole programs under `bulkhead run` and `runc run`, in turn.
func (t *table) programs(dir, bin string, round int) error {
	if _, err := exec.LookPath("runc"); err != nil || os.Geteuid() != 0 {
		return nil // whole programs need runc and root
	}
	root := filepath.Join(dir, "root")
	if err := os.Mkdir(root, 0755); err != nil {
		return err
	}
	defer os.Remove(root)
	if err := bindRoot(root); err != nil {
		return err
	}
	defer syscall.Unmount(root, 0)
	for i, s := range scripts {
		if s.warm {
			_ = exec.Command("/bin/sh", "-c", s.sh).Run() // its result does not count
		}
		programs := [2]string{bin, "runc"}
		var ms [2]float64
		var said [2]string
		for k := range programs {
			k ^= round & 1 // the order alternates
			var err error
			id := fmt.Sprintf("bench-%d-%d-%d", k, round, i)
			if ms[k], said[k], err = oci(dir, programs[k], id, s.sh); err != nil {
				return err
			}
		}
		if said[0] != said[1] || (s.want != "" && said[0] != s.want) {
			return fmt.Errorf("%s: wrong answer: %q, runc's %q", s.name, said[0], said[1])
		}
		t.add(s.name, "runc", "ms", s.limit, ms[0], ms[1])
	}
	if round == 0 {
		return t.memory(dir, bin)
	}
	return nil
}

// oci runs a shell command in a new container and gives milliseconds and output.
func oci(dir, runtime, id, sh string) (float64, string, error) {
	bundle := filepath.Join(dir, id)
	if err := os.Mkdir(bundle, 0755); err != nil {
		return 0, "", err
	}
	defer os.Remove(bundle)
	conf := filepath.Join(bundle, "config.json")
	defer os.Remove(conf)
	if err := writeConfig(conf, filepath.Join(dir, "root"), sh); err != nil {
		return 0, "", err
	}
	cmd := exec.Command(runtime, "run", id)
	cmd.Dir = bundle
	cmd.Stderr = os.Stderr
	kill := time.AfterFunc(2*time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	start := time.Now()
	out, err := cmd.Output()
	d := time.Since(start)
	if err != nil {
		return 0, "", fmt.Errorf("%s run: %w", runtime, err)
	}
	return float64(d.Microseconds()) / 1000, strings.TrimSpace(string(out)), nil
}

func writeConfig(file, root, sh string) error {
	mount := func(dst, typ string, opts ...string) map[string]any {
		return map[string]any{"destination": dst, "type": typ, "source": typ, "options": opts}
	}
	spec := map[string]any{
		"ociVersion": "1.0.2",
		"process": map[string]any{
			"args": []string{"/bin/sh", "-c", sh}, "cwd": "/", "user": map[string]int{"uid": 0, "gid": 0},
			"env": []string{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/tmp"},
		},
		"root":   map[string]any{"path": root, "readonly": true},
		"mounts": []any{mount("/proc", "proc"), mount("/dev", "tmpfs", "nosuid", "mode=755", "size=65536k"), mount("/tmp", "tmpfs", "nosuid", "nodev")},
		"linux":  map[string]any{"namespaces": []any{map[string]string{"type": "pid"}, map[string]string{"type": "mount"}, map[string]string{"type": "ipc"}, map[string]string{"type": "uts"}, map[string]string{"type": "network"}}},
	}
	raw, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	return os.WriteFile(file, raw, 0644)
}

// memory adds up the proportional set sizes of all processes of a sandbox that
// sleeps, in MB; the limit is 20 MB.
func (t *table) memory(dir, bin string) error {
	cmd := exec.Command(bin, "do", "--", "sleep", "60")
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	time.Sleep(time.Second)
	total := 0.0
	for _, p := range tree(cmd.Process.Pid) {
		total += pss(p)
	}
	t.add("memory for `sleep`, against 20 MB", "limit", "MB", 1, total/1024, 20)
	return nil
}

// tree lists a process and its descendants.
func tree(pid int) []int {
	out := []int{pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range tasks {
		b, _ := os.ReadFile(f)
		for _, c := range strings.Fields(string(b)) {
			if n, err := strconv.Atoi(c); err == nil {
				out = append(out, tree(n)...)
			}
		}
	}
	return out
}

// pss gives a process's proportional set size in KiB.
func pss(pid int) float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	for _, l := range strings.Split(string(b), "\n") {
		var kb float64
		if n, _ := fmt.Sscanf(l, "Pss: %f kB", &kb); n == 1 {
			return kb
		}
	}
	return 0
}
