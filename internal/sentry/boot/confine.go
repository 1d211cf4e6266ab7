package boot

import (
	"fmt"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/confine"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/wire"
)

// enclose is the first step, before there are guest processes: the Sentry
// leaves the host's tree, and what it starts cannot get back there either. It
// leaves /proc as the working directory, for starting the zygote.
func enclose(cfg *wire.SentryConfig) error {
	keep := kernel.HostPaths()
	if cfg.Privileges.MountNamespace {
		if err := emptyRoot(); err != nil {
			return fmt.Errorf("empty root: %w", err)
		}
	}
	if len(keep) == 0 {
		return fmt.Errorf("/proc is not mounted on the host: mount -t proc proc /proc")
	}
	if err := unix.Fchdir(keep[0].FD); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	return confine.NoNewPrivs()
}

// confine is the last step: no capabilities, and no host calls outside the
// filter.
func (s *sandbox) confine() error {
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
