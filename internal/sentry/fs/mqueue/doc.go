// Package mqueue has POSIX message queues (mq_overview(7)) and the file system
// that they are files of, usually mounted at /dev/mqueue. All mounts show the
// same queues: a sandbox is one IPC namespace.
//
// Lock order: FS.mu (names, accounts) and Queue.mu are leaves, apart from each
// other and below vfs's locks. A queue notifies its waiter.Queue and wakes
// tasks under its mu.
package mqueue
