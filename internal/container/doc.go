// Package container is the lifecycle of a sandbox: it reads and checks an OCI
// bundle, keeps the state directory, runs hooks, makes cgroups, starts the
// processes of a wall and speaks to them.
//
// It knows a wall only by the Sandbox interface. The Sentry and the Gofer are
// other processes, reached by exec and sockets (package wire draws both), so
// nothing here imports them.
//
// # State directory
//
//	ROOT/ID/state.json     what `state` shows and more; replaced by rename
//	ROOT/ID/lock           flock(2): exclusive for whoever changes the state
//	ROOT/ID/control.sock   the Sentry's control socket
//	ROOT/ID/config.json    the checked configuration, for start and hooks
//
// # Lock order
//
// A command takes the lock of one container at a time, before any request to
// its sandbox, and holds no lock while it waits for a process to end.
package container
