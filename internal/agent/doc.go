// Package agent is PID 1 of a micro-VM. It owns everything in the guest that is
// not a container's: the modules, the channel to the host, the storages, and of
// each container its cgroup and processes. package agentpb draws what the host
// may ask; this one does it.
//
// A container is made by a thread of its own (build.go) and a child that runs a
// script of system calls (script.go), so that no second program is started
// before the container's. Nothing of the agent is in a container's reach: it is
// outside of its PID, mount and cgroup namespaces, not dumpable, its device
// nodes are root's and denied by every container's device rules, and of its
// descriptors a child keeps none.
//
// Package word, which is initialised before this one, opens the channel and says
// the first word; Main goes on from there.
//
// Locks, in this order: Agent.storageMu, Agent.reapMu (held over a fork, so
// that no child ends before it is in the table), Agent.mu, container.mu.
package agent
