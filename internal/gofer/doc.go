// Package gofer is the process that alone touches the container's host files.
// It answers a Sentry's requests (wire's file protocol), holds no state between
// them, and trusts nothing in them.
//
// A path of a request is resolved below its mount's root with openat2 and
// without following symbolic links, so that neither a link nor a rename on the
// host leads outside. Device nodes, fifos and sockets are never handed out, and
// the host's proc, sysfs and their like below a root are shown as empty
// directories.
//
// One goroutine serves; there are no locks.
package gofer
