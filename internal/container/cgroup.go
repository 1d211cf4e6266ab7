package container

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/fs"
	"github.com/opencontainers/cgroups/fs2"
	"github.com/opencontainers/cgroups/systemd"
	"golang.org/x/sys/unix"
)

// cgroup is a sandbox's own place in the host's hierarchies: v1, v2, or v1
// with a v2 one beside it.
type cgroup struct {
	mgr     cgroups.Manager
	unified bool
	systemd bool              // which has made it, and removes it
	trees   map[string]v1Tree // if the paths were chosen by them
}

// openCgroup gives the cgroup of conf. paths are those that an earlier
// openCgroup has chosen, or nil; nothing is made yet.
func openCgroup(conf *cgroups.Cgroup, paths map[string]string) (*cgroup, error) {
	c := &cgroup{unified: cgroups.IsCgroup2UnifiedMode(), systemd: conf.Systemd}
	var err error
	switch {
	case conf.Systemd && !systemd.IsRunningSystemd():
		return nil, errors.New("--systemd-cgroup: systemd does not run here")
	case conf.Systemd && c.unified:
		c.mgr, err = systemd.NewUnifiedManager(conf, paths[""])
	case conf.Systemd:
		c.mgr, err = systemd.NewLegacyManager(conf, paths)
	case c.unified:
		c.mgr, err = fs2.NewManager(conf, paths[""])
	default:
		c.mgr, err = fs.NewManager(conf, paths)
	}
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	return c, nil
}

// chooseCgroup gives a cgroup for conf, whose paths were not chosen before.
func chooseCgroup(conf *cgroups.Cgroup, trees map[string]v1Tree) (*cgroup, error) {
	paths := v1Paths(conf, trees)
	c, err := openCgroup(conf, paths)
	if err == nil && paths != nil {
		c.trees = trees
	}
	return c, err
}

// admit puts a process into the cgroup, which is made if it is not there.
func (c *cgroup) admit(pid int) error {
	err := c.mgr.Apply(pid)
	if err != nil && !errors.Is(err, cgroups.ErrRootless) {
		return fmt.Errorf("putting process %d into its cgroup: %w", pid, err)
	}
	return nil
}

// make makes the cgroup with nothing in it.
func (c *cgroup) make(r *cgroups.Resources) error {
	if c.trees != nil && makeV1(c.mgr.GetPaths(), r) == nil {
		return nil
	}
	if err := c.mgr.Apply(-1); err != nil {
		return fmt.Errorf("making the cgroup: %w", err)
	}
	return nil
}

// pids are the processes in the cgroup and below it, by the first hierarchy
// that has it.
func (c *cgroup) pids() []int {
	if c == nil {
		return nil
	}
	for _, name := range []string{"pids", "memory", "freezer", "devices", ""} {
		path := c.mgr.Path(name)
		if path == "" {
			continue
		}
		if pids, err := cgroups.GetAllPids(path); err == nil {
			return pids
		}
	}
	return nil
}

// killAll ends every process in the cgroup, those that a dead Sentry left
// behind too: by cgroup.kill where there is one, else one by one until none is
// left.
func (c *cgroup) killAll() {
	if c == nil {
		return
	}
	if path := c.mgr.Path(""); path != "" {
		_ = os.WriteFile(path+"/cgroup.kill", []byte("1"), 0)
	}
	c.thaw()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); {
		left := false
		for _, pid := range c.pids() {
			if pid != os.Getpid() {
				_ = unix.Kill(pid, unix.SIGKILL)
				left = true
			}
		}
		if !left {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// removeEmpty removes the cgroup if it has no process, and says whether it is
// gone.
func (c *cgroup) removeEmpty() bool {
	if c == nil {
		return true
	}
	if c.systemd {
		return false
	}
	for _, path := range c.mgr.GetPaths() {
		if err := unix.Rmdir(path); err != nil && err != unix.ENOENT {
			return false
		}
	}
	return true
}

func (c *cgroup) thaw() {
	if state, err := c.mgr.GetFreezerState(); err == nil && state == cgroups.Frozen {
		_ = c.mgr.Freeze(cgroups.Thawed)
	}
}

// remove removes the cgroup; its processes must have ended. A directory may
// stay busy for a moment after that.
func (c *cgroup) remove() error {
	if c == nil {
		return nil
	}
	if err := c.mgr.Destroy(); err != nil {
		return fmt.Errorf("removing the cgroup: %w", err)
	}
	return nil
}

// doPrefix names the cgroups of `do`, with the pid of the command.
const doPrefix = "bulkhead-do-"

// doCgroup makes a cgroup for `do` with limits; nil when there is none to
// hold. Of cgroup v1 only the two controllers are joined.
func doCgroup(memory, pids int64) (*cgroup, error) {
	if memory <= 0 && pids <= 0 {
		return nil, nil
	}
	res := &cgroups.Resources{SkipDevices: true, Memory: memory}
	if pids > 0 {
		limit := hostTasks(pids)
		res.PidsLimit = &limit
	}
	conf := &cgroups.Cgroup{Name: fmt.Sprint(doPrefix, os.Getpid()), Resources: res}
	c, err := openCgroup(conf, nil)
	if err != nil {
		return nil, err
	}
	if !c.unified {
		paths := make(map[string]string)
		for _, name := range []string{"memory", "pids"} {
			if path := c.mgr.Path(name); path != "" {
				paths[name] = path
			}
		}
		if c, err = openCgroup(conf, paths); err != nil {
			return nil, err
		}
	}
	sweepDoCgroups(c)
	if err := c.mgr.Apply(-1); err != nil {
		c.remove()
		return nil, err
	}
	if err := c.mgr.Set(res); err != nil {
		c.remove()
		return nil, err
	}
	return c, nil
}

// ownThreads is how many threads of the Sentry and the Gofer a limit of tasks
// leaves room for.
const ownThreads = 64

// hostTasks is the limit for a cgroup whose guest may have so many tasks: each
// has a thread of the guest's and one of the Sentry's. The guest kernel holds
// the limit exactly, with the error that fork(2) has for it; were the cgroup to
// stop the Sentry's own threads, the sandbox would end.
func hostTasks(limit int64) int64 {
	if limit <= 0 {
		return limit
	}
	return 2*limit + ownThreads
}

// sweepDoCgroups removes what a `do` that was killed has left: an empty cgroup
// that is named after a process which no longer exists.
func sweepDoCgroups(c *cgroup) {
	for _, path := range c.mgr.GetPaths() {
		parent := path[:strings.LastIndexByte(path, '/')]
		entries, err := os.ReadDir(parent)
		if err != nil {
			continue
		}
		for _, e := range entries {
			var pid int
			if _, err := fmt.Sscanf(e.Name(), doPrefix+"%d", &pid); err != nil {
				continue
			}
			if unix.Kill(pid, 0) == unix.ESRCH {
				_ = unix.Rmdir(parent + "/" + e.Name())
			}
		}
	}
}
