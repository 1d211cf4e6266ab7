// Package cgroupfs is a read-only view of the sandbox's own cgroup in the form
// of cgroup2 (cgroups(7)): what language runtimes read to size their heaps and
// thread pools. The cgroup that holds the sandbox is the host's business; here
// only its limits show. It has no locks.
package cgroupfs
