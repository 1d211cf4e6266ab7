package boot

import (
	"fmt"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/confine"
)

// confine takes from the Sentry's process what a running sandbox does not
// need: paths, capabilities, and the host calls outside its filter.
func (s *sandbox) confine() error {
	if s.cfg.Privileges.MountNamespace {
		if err := emptyRoot(); err != nil {
			return fmt.Errorf("empty root: %w", err)
		}
	}
	if err := confine.NoNewPrivs(); err != nil {
		return err
	}
	if _, err := confine.Paths(s.k.HostPaths()); err != nil {
		return err
	}
	if err := confine.NoCapabilities(); err != nil {
		return err
	}
	if err := Filter().Install(); err != nil {
		return fmt.Errorf("the Sentry's filter: %w", err)
	}
	return nil
}

// emptyRoot makes an empty, read-only tmpfs the root directory, and lets the
// host's mounts go.
func emptyRoot() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making / private: %w", err)
	}
	const at = "/tmp"
	if err := unix.Mount("bulkhead", at, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=0,mode=555"); err != nil {
		return fmt.Errorf("mounting a tmpfs on %s: %w", at, err)
	}
	if err := unix.Chdir(at); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot_root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("letting the host's root go: %w", err)
	}
	return unix.Chdir("/")
}
