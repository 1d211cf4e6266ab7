// Package hostfile makes guest files of descriptors that the Sentry inherited:
// standard input, output and error, and those of --preserve-fds. They may be
// anything: regular files, pipes, sockets, terminals, /dev/null. The
// descriptor's own flags are shared with host processes and never changed, so
// reads and writes are such that they cannot block, and one goroutine with an
// epoll instance tells the waiters of all of them.
//
// Terminals are the guest's to control jobs with, within limits: settings and
// sizes pass through a list of allowed requests, sessions and foreground groups
// are the Sentry's own.
//
// Lock order: File.mu → the process table's locks; poller.mu is a leaf.
package hostfile
