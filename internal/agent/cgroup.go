package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// cgroup is a container's, in podCgroup. Its name begins with "ctr-", as no
// control file's does.
type cgroup struct {
	dir     string
	fd      int    // for CLONE_INTO_CGROUP
	devices int    // the program that holds the device rules
	code    []byte // of it
}

func newCgroup(id string) (*cgroup, error) {
	c := &cgroup{dir: podCgroup + "/ctr-" + id, fd: -1, devices: -1}
	if err := os.Mkdir(c.dir, 0o755); err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	fd, err := unix.Open(c.dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		_ = os.Remove(c.dir)
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	c.fd = fd
	return c, nil
}

func (c *cgroup) write(file, value string) error {
	if err := os.WriteFile(c.dir+"/"+file, []byte(value), 0); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("%w: the guest's kernel has no %s", errInvalid, file)
		}
		return fmt.Errorf("cgroup: %s: writing %q: %w", file, value, err)
	}
	return nil
}

// limit turns a limit of config.json into the file's word.
func limit(n int64) string {
	if n < 0 {
		return "max"
	}
	return strconv.FormatInt(n, 10)
}

// apply writes what is set.
func (c *cgroup) apply(r *agentpb.Resources) error {
	if r == nil {
		return nil
	}
	if err := c.memory(r); err != nil {
		return err
	}
	if r.CpuIdle != nil { // before the weight, which it resets
		if err := c.write("cpu.idle", strconv.FormatInt(*r.CpuIdle, 10)); err != nil {
			return err
		}
	}
	if r.CpuWeight != nil {
		if err := c.write("cpu.weight", strconv.FormatUint(*r.CpuWeight, 10)); err != nil {
			return err
		}
	}
	if err := c.cpu(r); err != nil {
		return err
	}
	if r.PidsLimit != nil {
		if err := c.write("pids.max", limit(*r.PidsLimit)); err != nil {
			return err
		}
	}
	for file, value := range r.Unified {
		if file != filepath.Base(file) || !strings.Contains(file, ".") || strings.HasPrefix(file, "cgroup.") {
			return fmt.Errorf("linux.resources.unified[%s] %w", file, errInvalid)
		}
		if err := c.write(file, value); err != nil {
			return err
		}
	}
	return nil
}

func (c *cgroup) memory(r *agentpb.Resources) error {
	if r.MemoryLimit != nil {
		if err := c.write("memory.max", limit(*r.MemoryLimit)); err != nil {
			return err
		}
	}
	if r.MemoryReservation != nil {
		if err := c.write("memory.low", limit(*r.MemoryReservation)); err != nil {
			return err
		}
	}
	if r.MemorySwap == nil {
		return nil
	}
	swap := *r.MemorySwap
	if swap > 0 && r.MemoryLimit != nil && *r.MemoryLimit > 0 {
		swap -= *r.MemoryLimit // v2 counts swap alone
	}
	return c.write("memory.swap.max", limit(swap))
}

func (c *cgroup) cpu(r *agentpb.Resources) error {
	if r.CpuQuota != nil || r.CpuPeriod != nil {
		quota, period := "max", "100000"
		if old, err := os.ReadFile(c.dir + "/cpu.max"); err == nil {
			if f := strings.Fields(string(old)); len(f) == 2 {
				quota, period = f[0], f[1]
			}
		}
		if r.CpuQuota != nil {
			quota = "max"
			if *r.CpuQuota > 0 {
				quota = strconv.FormatInt(*r.CpuQuota, 10)
			}
		}
		if r.CpuPeriod != nil && *r.CpuPeriod != 0 {
			period = strconv.FormatUint(*r.CpuPeriod, 10)
		}
		if err := c.write("cpu.max", quota+" "+period); err != nil {
			return err
		}
	}
	if r.CpuBurst != nil {
		return c.write("cpu.max.burst", strconv.FormatUint(*r.CpuBurst, 10))
	}
	return nil
}

func (c *cgroup) freeze(on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	if err := c.write("cgroup.freeze", value); err != nil {
		return err
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		raw, err := os.ReadFile(c.dir + "/cgroup.events")
		if err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
		if strings.Contains(string(raw), "frozen "+value) {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.New("cgroup: some process does not freeze")
		}
		time.Sleep(time.Millisecond)
	}
}

// procs lists the processes of the cgroup and of those below it.
func (c *cgroup) procs() ([]int, error) {
	var pids []int
	err := c.walk(func(dir string) error {
		raw, err := os.ReadFile(dir + "/cgroup.procs")
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil // threaded, or gone
		}
		if err != nil {
			return err
		}
		for _, f := range strings.Fields(string(raw)) {
			if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}

// walk visits the cgroup, then those below it.
func (c *cgroup) walk(visit func(dir string) error) error {
	var down func(dir string) error
	down = func(dir string) error {
		if err := visit(dir); err != nil {
			return err
		}
		list, err := os.ReadDir(dir)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, d := range list {
			if d.IsDir() {
				if err := down(dir + "/" + d.Name()); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return down(c.dir)
}

// kill ends every process of the cgroup, also those that fork meanwhile.
func (c *cgroup) kill() error {
	if err := c.write("cgroup.kill", "1"); err != nil && !errors.Is(err, unix.ENODEV) {
		return err
	}
	return nil
}

// remove takes the cgroup away, once it is empty.
func (c *cgroup) remove() error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		var dirs []string
		_ = c.walk(func(dir string) error { dirs = append(dirs, dir); return nil })
		var err error
		for i := len(dirs) - 1; i >= 0; i-- {
			if e := unix.Rmdir(dirs[i]); e != nil && e != unix.ENOENT && err == nil {
				err = e
			}
		}
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("cgroup: %s: %w", c.dir, err)
		}
		_ = c.kill()
		time.Sleep(time.Millisecond)
	}
	c.close()
	return nil
}

func (c *cgroup) close() {
	for _, fd := range []*int{&c.fd, &c.devices} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

// oomKills reads how often the kernel killed here for memory.
func (c *cgroup) oomKills() uint64 { return c.keyed("memory.events")["oom_kill"] }

// keyed reads a flat keyed file; nothing if it is not there.
func (c *cgroup) keyed(file string) map[string]uint64 {
	out := make(map[string]uint64)
	raw, _ := readFile(c.dir + "/" + file)
	for line := range strings.Lines(raw) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			out[key], _ = strconv.ParseUint(value, 10, 64)
		}
	}
	return out
}

// single reads a file of one number; 0 for "max".
func (c *cgroup) single(file string) uint64 {
	raw, _ := os.ReadFile(c.dir + "/" + file)
	n, _ := strconv.ParseUint(strings.TrimSpace(string(raw)), 10, 64)
	return n
}
