package monitor

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/confine"
	"bulkhead.dev/bulkhead/internal/vm/filters"
	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
)

// confine is called when the sandbox's own hypervisor has been started, and
// before a byte of what its guest sends is read: no_new_privs, few capabilities,
// no files but the hypervisor's in /proc (Landlock), and the filter. Machines
// that templates and probes boot ran nothing of a container's.
func (m *monitor) confine(vm hypervisor.VM) error {
	if err := confine.NoNewPrivs(); err != nil {
		return err
	}
	if err := m.dropCapabilities(); err != nil {
		return err
	}
	if err := m.leavePaths(vm.Pid()); err != nil {
		return err
	}
	// Said by the program, the number of CPUs stays: the runtime does not look
	// for another every second, and the filter need not allow that.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	if err := filters.Monitor(m.needs()).Install(); err != nil {
		return fmt.Errorf("the monitor's filter: %w", err)
	}
	return nil
}

// needs are the parts of the filter that this sandbox's monitor has use for.
func (m *monitor) needs() filters.MonitorNeeds {
	return filters.MonitorNeeds{
		Network: len(m.nics) > 0,
		API:     m.machine.hypervisor != nameQEMU,
		Vsock:   m.machine.hypervisor == nameQEMU && m.machine.vsock,
		Files:   !m.cfg.Container.Privileges.MountNamespace,
	}
}

// leavePaths leaves what the hypervisor uses in reach, and where the monitor's
// directory is one of the host's, the removal of that.
//
// The descriptors stay open. A rule is of an inode, and /proc makes a new one
// for a directory of a process that the kernel has dropped from its caches
// since: what the hypervisor uses would be out of reach from then on.
func (m *monitor) leavePaths(pid int) error {
	var keep []confine.Path
	add := func(path string, rights uint64) {
		// What is not there is not needed: a /proc of another PID namespace.
		if fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
			keep, m.held = append(keep, confine.Path{FD: fd, Rights: rights}), append(m.held, fd)
		}
	}
	add(fmt.Sprint("/proc/", pid), confine.ReadFile)
	if m.needs().Files {
		add(scratchParent, confine.ReadDir|confine.Remove)
	}
	if _, err := confine.AllPaths(keep); err != nil {
		return fmt.Errorf("leaving the host's files: %w", err)
	}
	return nil
}
