// Package tmpfs is the file system in memory (tmpfs(5)), memfd_create's files
// and shared anonymous memory.
//
// A regular file's bytes are in one of three stores. Small files are slices of
// the Sentry's heap. Larger ones have a window of one sparse memfd that the
// whole file system shares, the arena, so that they cost no descriptor. A file
// that is mapped or sealed has a memfd of its own, which guests map.
//
// Lock order: directory.mu (one at a time) → regular.mu → FS.mu and arena.mu,
// which are leaves. Attributes are atomic.
package tmpfs
