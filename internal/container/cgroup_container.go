package container

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/cgroups"
)

// planCgroup chooses the container's cgroups and notes them in the record; they
// are made by joinCgroup.
func (c *creation) planCgroup() error {
	l := c.bundle.config.Linux
	conf := &cgroups.Cgroup{
		Path:    l.CgroupsPath,
		Systemd: c.rt.SystemdCgroup, Rootless: c.rt.rootless(),
		Resources: hostResources(c.rec.Wall, l.Resources),
	}
	if c.rec.Wall == WallVM && c.launch.pod == nil {
		c.booted = splitBoot(conf.Resources)
	}
	if conf.Path == "" {
		conf.Name = c.opts.ID
	}
	if conf.Systemd {
		if err := systemdNames(conf, l.CgroupsPath); err != nil {
			return err
		}
	}
	cg, err := chooseCgroup(conf, <-c.trees)
	if err != nil {
		if conf.Rootless && !hasLimits(l.Resources) {
			c.rt.Debug("no cgroup: %v", err)
			return nil
		}
		return err
	}
	trees := cg.trees
	cg, exact, err := splitPids(conf, cg, l.Resources)
	if err != nil {
		return err
	}
	cg.trees = trees
	for _, path := range append([]string{exact}, slices.Collect(maps.Values(cg.mgr.GetPaths()))...) {
		if path == "" {
			continue
		}
		pids, err := cgroups.GetAllPids(path)
		if err == nil && len(pids) > 0 {
			return fmt.Errorf("linux.cgroupsPath: %s already has %d processes; a container needs a cgroup of its own", path, len(pids))
		}
	}
	c.cgroup = cg
	c.launch.cgroup = true
	c.launch.sentry.CgroupPath = "/"
	if !c.launch.sentry.Namespaces.Cgroup && l.CgroupsPath != "" && !conf.Systemd {
		c.launch.sentry.CgroupPath = l.CgroupsPath
	}
	c.rec.Cgroup = recordOf(conf, cg)
	c.rec.Cgroup.Pids = exact
	return nil
}

// systemdNames reads cgroupsPath in the form slice:prefix:name.
func systemdNames(conf *cgroups.Cgroup, path string) error {
	if path == "" {
		conf.Parent, conf.ScopePrefix = "system.slice", "bulkhead"
		if conf.Rootless {
			conf.Parent = "user.slice"
		}
		return nil
	}
	parts := strings.Split(path, ":")
	if len(parts) != 3 || parts[2] == "" {
		return fmt.Errorf("linux.cgroupsPath %q: with --systemd-cgroup it must be slice:prefix:name", path)
	}
	conf.Path = ""
	conf.Parent, conf.ScopePrefix, conf.Name = parts[0], parts[1], parts[2]
	return nil
}

func recordOf(conf *cgroups.Cgroup, cg *cgroup) *cgroupRecord {
	return &cgroupRecord{
		Paths: cg.mgr.GetPaths(), Systemd: conf.Systemd, Name: conf.Name, Parent: conf.Parent,
		Prefix: conf.ScopePrefix, Path: conf.Path, Rootless: conf.Rootless,
	}
}

// openCgroup finds the cgroups of a container that was made before; nil if
// it has none.
func (c *Container) openCgroup() *cgroup {
	r := c.rec.Cgroup
	if r == nil || len(r.Paths) == 0 {
		return nil
	}
	conf := &cgroups.Cgroup{
		Name: r.Name, Parent: r.Parent, ScopePrefix: r.Prefix, Path: r.Path, Systemd: r.Systemd, Rootless: r.Rootless,
		Resources: &cgroups.Resources{SkipDevices: true},
	}
	cg, err := openCgroup(conf, r.Paths)
	if err != nil {
		c.rt.Warn("%v", err)
		return nil
	}
	return cg
}

// makeNursery makes the cgroups and has the processes born there, if that can
// be: joinCgroup does the rest.
func (c *creation) makeNursery() error {
	if c.cgroup == nil || c.rec.Cgroup.Rootless || (c.cgroup.trees == nil && (!c.cgroup.unified || c.cgroup.systemd)) {
		return nil
	}
	conf, err := c.cgroup.mgr.GetCgroups()
	if err != nil {
		return err
	}
	if err := c.cgroup.make(conf.Resources); err != nil {
		return err
	}
	c.launch.nursery = openNursery(c.cgroup.mgr.GetPaths(), c.cgroup.trees)
	return nil
}

// joinCgroup makes the cgroups with their limits and puts the two processes
// there, if they are not yet. What they start later is born there.
func (c *creation) joinCgroup() error {
	if c.cgroup == nil {
		return nil
	}
	if n := c.launch.nursery; n == nil || (n.late && c.cgroup.unified) {
		if err := c.admitBoth(); err != nil {
			return err
		}
	} else if n.late {
		for _, p := range []process{c.rec.Gofer, c.rec.Sentry} {
			if p.Pid > 0 { // what cannot be moved stays without, as package cgroups has it
				_ = cgroups.WriteCgroupProc(c.cgroup.mgr.Path(""), p.Pid)
			}
		}
	}
	conf, err := c.cgroup.mgr.GetCgroups()
	if err != nil {
		return err
	}
	if err := c.cgroup.mgr.Set(conf.Resources); err != nil {
		return fmt.Errorf("linux.resources: %w", err)
	}
	// Hierarchies that a user may not use have dropped out.
	if paths := c.cgroup.mgr.GetPaths(); len(paths) != len(c.rec.Cgroup.Paths) {
		c.rec.Cgroup.Paths = paths
		return c.save()
	}
	return nil
}

func (c *creation) admitBoth() error {
	for _, pid := range []int{c.rec.Gofer.Pid, c.rec.Sentry.Pid} {
		if pid == 0 {
			continue // a VM has no Gofer
		}
		if err := c.cgroup.admit(pid); err != nil {
			return err
		}
	}
	return nil
}

// errNoCgroup is a request that only cgroups can answer.
var errNoCgroup = errors.New("the container has no cgroup")
