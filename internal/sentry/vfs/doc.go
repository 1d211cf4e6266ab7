// Package vfs owns names and open files: mounts, dentries, path walks, file
// descriptions, file locks and inotify. File systems implement Inode and File.
//
// A Path that a function returns is pinned: release it with Path.DecRef. A Path
// that a field or FSContext.Root and Cwd give is borrowed. Path strings may be
// views of a buffer that is valid during the call alone.
//
// Lock order: MountNamespace.mu → rename mutex (per file system) → Dentry.mu
// (parent before child; siblings by address) → FileDescription.offMu → a file
// system's own locks → InodeBase's locks → waiter.Queue. FDTable.mu and
// FSContext.mu are leaves.
package vfs
