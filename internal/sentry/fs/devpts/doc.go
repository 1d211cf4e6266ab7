// Package devpts is the file system of pseudoterminals, usually /dev/pts
// (pts(4)): a node for each pair whose master is open, and ptmx, which makes
// pairs. Each mount is an instance of its own.
//
// Lock order: Instance.mu is a leaf; it is never held over a pair's own lock.
package devpts
