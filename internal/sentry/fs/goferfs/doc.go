// Package goferfs is the file system of the container's host files: the client
// of a Gofer. Names and attributes come from the Gofer in batches; contents are
// read, written and mapped by host descriptors that it hands out.
//
// A mount that nobody else changes is exclusive: what was learned stays known
// for the sandbox's life. A shared mount asks again at every walk.
//
// Lock order: inode.mu (parent before child) → Client.mu → FS.mu, a leaf. Where
// an inode stands (places) changes under Client.mu, so that a request's path is
// right when it is sent.
package goferfs
