// Package kernel owns processes: tasks, thread groups, process groups and
// sessions, signals, waiting for children, exec, credentials and limits.
//
// Each guest thread is a Task with one goroutine, locked to an OS thread, which
// runs that task's calls from trap to answer. Fields marked "own goroutine" are
// touched by it alone.
//
// Lock order: Kernel.mu (the task list: pid tables, parents and children,
// groups, sessions, exit states) → ThreadGroup.sig.mu (signals, dispositions,
// job control, timers) → leaves (Task.mu, waiter.Queue).
package kernel
