// Package vfs owns names and open files: mounts, dentries, path walks, file
// descriptions, file locks and inotify. File systems implement Inode and File.
//
// Lock order: MountNamespace.mu → rename mutex (per file system) → Dentry.mu
// (parent before child; siblings by address) → FileDescription.offMu → a file
// system's own locks → InodeBase's locks → waiter.Queue.
package vfs
