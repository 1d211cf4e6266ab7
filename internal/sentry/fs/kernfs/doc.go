// Package kernfs builds the synthetic trees: /proc, /sys, the cgroup view. A
// directory has fixed children and may have dynamic ones; a file's content is
// made when it is first read and stays as it was for that description, as
// seq_file's do, until it is read from the start again.
//
// The trees are fixed once built, each directory when it is first looked at:
// there are no locks but each open file's own, which is held while its content
// is made.
package kernfs
