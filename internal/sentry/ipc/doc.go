// Package ipc has System V's shared memory, semaphores and message queues
// (sysvipc(7)). A sandbox is one IPC namespace.
//
// Lock order: a table's mu guards its objects and those who wait for them. It
// comes before waiter's and the kernel's parking of tasks; it is never held
// over a call to mm or vfs, but for the making of a segment's file.
package ipc
