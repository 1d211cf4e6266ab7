// Package monitor is the process that stands for a container behind the VM
// wall, as the Sentry's does behind the other: one per sandbox. It starts the
// virtiofsd's and the hypervisor in jails, speaks to the agent in the guest,
// serves the control protocol (package wire) to the lifecycle, joins the
// guest's streams to the container's descriptors, and ends with init's status.
//
// # How it ends
//
// init, the VM, the agent's connection, a virtiofsd: whichever ends first ends
// the sandbox (death.go). The monitor is the first process of a PID namespace
// wherever one may be made, so that its own end, by SIGKILL too, ends all it
// has started; its files are in a tmpfs of its own mount namespace.
//
// # Trust
//
// QEMU, virtiofsd and everything that comes from the agent are in hostile
// hands. Numbers and texts of an answer are checked where they are used; the
// sizes of messages are bounded by ttrpc and the multiplexer.
//
// # Locks
//
// monitor.mu guards the table of processes and the state of the container; it
// is not held during a call to the agent or to the hypervisor.
package monitor
