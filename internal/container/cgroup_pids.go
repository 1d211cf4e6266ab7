package container

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/opencontainers/cgroups"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// The limit of tasks of a container, and who is counted against it:
//
//	<cgroupsPath>           pids.max is the limit, exactly; holds the Sentry's
//	                        first thread, which is what `state` names
//	<cgroupsPath>.sandbox   pids.max is hostTasks(limit); holds all the rest:
//	                        Gofer, the Sentry's threads, every guest task
//
// The guest kernel counts the guest's tasks and refuses those over the limit.
// The host cannot: a guest's task is two of the host's, and there are others
// that are no guest's. What the second cgroup does is to hold a sandbox that
// has run wild.
//
// Only cgroup v1 has a hierarchy for this controller alone. In cgroup v2, and
// where systemd owns the cgroups, there is one cgroup, with hostTasks(limit).

// sandboxSuffix is what the second cgroup's name has more.
const sandboxSuffix = ".sandbox"

// splitPids gives the cgroup with its pids controller apart, and the path that
// has the exact limit; cg itself and "" where that cannot be or need not be.
func splitPids(conf *cgroups.Cgroup, cg *cgroup, r *specs.LinuxResources) (*cgroup, string, error) {
	paths := cg.mgr.GetPaths()
	exact := paths["pids"]
	if cg.unified || conf.Systemd || conf.Rootless || exact == "" || r == nil || r.Pids == nil || r.Pids.Limit == nil || *r.Pids.Limit <= 0 {
		return cg, "", nil
	}
	paths["pids"] = exact + sandboxSuffix
	cg, err := openCgroup(conf, paths)
	return cg, exact, err
}

// showPids makes the cgroup with the exact limit and puts the Sentry's first
// thread there. The sandbox is loaded by now: that thread starts no others.
func (c *Container) showPids() error {
	if c.rec.Cgroup == nil || c.rec.Cgroup.Pids == "" {
		return nil
	}
	if err := os.Mkdir(c.rec.Cgroup.Pids, 0o755); err != nil && !os.IsExist(err) {
		return fmt.Errorf("linux.resources.pids: %w", err)
	}
	if err := c.setExactPids(c.rec.Limits.Pids); err != nil {
		return err
	}
	if err := cgroups.WriteFile(c.rec.Cgroup.Pids, "tasks", strconv.Itoa(c.rec.Sentry.Pid)); err != nil {
		return fmt.Errorf("linux.resources.pids: %w", err)
	}
	return nil
}

// setExactPids changes the exact limit; 0 is none.
func (c *Container) setExactPids(limit int64) error {
	if c.rec.Cgroup == nil || c.rec.Cgroup.Pids == "" {
		return nil
	}
	value := "max"
	if limit > 0 {
		value = strconv.FormatInt(limit, 10)
	}
	if err := cgroups.WriteFile(c.rec.Cgroup.Pids, "pids.max", value); err != nil {
		return fmt.Errorf("linux.resources.pids.limit: %s: %w", filepath.Base(c.rec.Cgroup.Pids), err)
	}
	return nil
}

// removeExactPids removes the cgroup that showPids made.
func (c *Container) removeExactPids() error {
	if c.rec.Cgroup == nil || c.rec.Cgroup.Pids == "" {
		return nil
	}
	return cgroups.RemovePath(c.rec.Cgroup.Pids)
}
