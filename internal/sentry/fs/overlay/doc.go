// Package overlay lays a writable layer in memory over a tree that stays as it
// is: the container's root, by way of its Gofer.
//
// The upper layer is no second tree. An inode that is changed keeps its changes
// itself: attributes, a directory's names, and, once its bytes are written to,
// a file of a tmpfs for its contents. So a change of attributes, a rename or a
// link copies nothing, inode numbers never change, and a moved directory takes
// the lower one along. What has not been changed is dropped from memory when no
// dentry leads to it, and found again in the lower tree.
//
// The lower tree must not change meanwhile.
//
// Lock order: a directory's mu (two of them: vfs's rename mutex is held) →
// another inode's mu → FS.mu, a leaf.
package overlay
