package boot

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/confine"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
	"bulkhead.dev/bulkhead/internal/wire"
)

// enclose is the first step, before there are guest processes: the Sentry
// leaves the host's tree, and what it starts cannot get back there either, and
// has no capability from here on: while there are few threads, since all are
// stopped for it. It leaves /proc as the working directory, for starting the
// zygote.
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
	if err := confine.NoNewPrivs(); err != nil {
		return err
	}
	return confine.NoCapabilities()
}

// encloseByLandlock takes the host's paths away where no mount namespace could
// be made, and executes the Sentry again, since every thread must be in the one
// Landlock domain. It returns only where the host has no Landlock, or an error.
func encloseByLandlock(cfg *wire.SentryConfig, args []string) error {
	if err := confine.NoNewPrivs(); err != nil {
		return err
	}
	self, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("/proc/self/exe: %w", err)
	}
	done, err := confine.Paths(append(kernel.HostPaths(), confine.Path{FD: self, Rights: confine.ReadFile}))
	if err != nil || !done {
		return err
	}
	raw, err := json.Marshal(cfg)
	if err != nil {
		return err
	}
	fd, err := unix.MemfdCreate("bulkhead-config", 0)
	if err != nil {
		return fmt.Errorf("memfd_create for the configuration: %w", err)
	}
	if n, err := unix.Pwrite(fd, raw, 0); err != nil || n != len(raw) {
		return fmt.Errorf("writing the configuration: %d of %d bytes: %w", n, len(raw), err)
	}
	argv := append([]string{"bulkhead", "sentry"}, args...)
	argv = append(argv, "--enclosed", "--config-fd="+strconv.Itoa(fd))
	return fmt.Errorf("executing the Sentry again: %w", unix.Exec("/proc/self/exe", argv, os.Environ()))
}

// confine is the last step: no host calls outside the filter.
func (s *sandbox) confine() error {
	// The runtime's poller comes with its first timer; its eventfd is made now,
	// so that the filter need not allow that.
	time.AfterFunc(time.Hour, func() {}).Stop()
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
