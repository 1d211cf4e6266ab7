// Package vfstest compares a file system behind vfs with the host's kernel:
// the same random calls run on both, and every answer must agree. It is for
// tests alone.
package vfstest
