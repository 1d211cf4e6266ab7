// Package goferfs is the file system of the container's host files: the client
// of a Gofer. Names and attributes come from the Gofer in batches; contents are
// read, written and mapped by host descriptors that it hands out.
//
// A mount that nobody else changes is exclusive: what was learned stays known
// for the sandbox's life, or until there are too many dentries. A shared mount
// asks again at every walk, but for directories that were found in their place
// within the last millisecond.
//
// A name that is looked up brings its whole directory, or, of a large one, the
// file alone with a descriptor of it. A directory that is read brings its
// names; if its parent was read before, somebody walks the tree, and the
// directories that come next are read ahead, as far as one message reaches.
//
// There, who looks at files and opens them one by one gets the descriptor with the
// look, and opens, within a millisecond, what he has seen.
//
// In a shared mount the rest of a path is asked for at once (Foresee), and what
// a name leads to is made sure of by the Gofer when it is removed. Of a tree that
// is being walked the next message is asked for ahead, if a CPU is idle.
//
// Lock order: inode.mu (parent before child) → Client.mu → FS.mu, a leaf. Where
// an inode stands (places) changes under Client.mu, so that a request's path is
// right when it is sent.
package goferfs
