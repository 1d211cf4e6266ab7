// Package proc is the process file system, proc(5): a directory for each
// process and thread, files about the sandbox, and sysctls. What it shows of
// processes it reads through inspect.View.
//
// It has no locks of its own: directories of processes are made as they are
// looked up, and vfs asks again on each use whether they still stand for the
// same process.
package proc
