// Package guest makes what a micro-VM boots from, on the host and ahead of
// time: the distribution's kernel unpacked, an initramfs with the agent and the
// modules it needs, and read-only images of root file systems. It owns the
// cache of them.
//
// Everything is made once and found again by a key of what it was made from.
// Several processes may look, make and prune at once: an entry appears by a
// rename, whole or not at all; who makes one holds a lock of its key, and who
// uses one holds a shared lock of the entry, which pruning respects.
//
// Locks: the files of a Cache (flock(2)): "NAME.lock" before the entry itself.
// No mutex; the values are not for several goroutines.
package guest
