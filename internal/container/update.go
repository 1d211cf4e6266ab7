package container

import (
	"errors"
	"fmt"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// ParseResources reads the JSON of `update --resources`.
func (rt *Runtime) ParseResources(raw []byte) (*specs.LinuxResources, error) {
	if len(raw) > maxConfigJSON {
		return nil, fmt.Errorf("--resources: longer than %d bytes", maxConfigJSON)
	}
	r := new(specs.LinuxResources)
	if err := decodeJSON(raw, r, rt.Warn); err != nil {
		return nil, fmt.Errorf("--resources: %w", err)
	}
	return r, nil
}

// Update changes the limits of a container. What is not given stays.
func (rt *Runtime) Update(id string, r *specs.LinuxResources) error {
	ck := &checker{warn: rt.Warn}
	ck.resources("resources", r)
	if err := ck.err(); err != nil {
		return err
	}
	c, err := rt.openLocked(id)
	if err != nil {
		return err
	}
	defer c.unlock()
	if c.status() == StatusStopped {
		return errStopped
	}
	cg := c.openCgroup()
	if cg == nil {
		return errNoCgroup
	}
	if err := cg.mgr.Set(hostResources(c.rec.Wall, r)); err != nil {
		return fmt.Errorf("update: %w", err)
	}
	limits := limitsAfter(c.rec.Limits, r)
	if limits == c.rec.Limits {
		return nil
	}
	if err := c.setExactPids(limits.Pids); err != nil {
		return err
	}
	if err := c.sandbox().Update(limits); err != nil {
		return errors.Join(errors.New("the cgroups have the new limits, the guest kernel has not"), err)
	}
	c.rec.Limits = limits
	return c.save()
}
