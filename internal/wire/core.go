package wire

import "golang.org/x/sys/unix"

// NoCore keeps this process and those it starts from leaving core files: a guest
// process that its filter kills would hand its memory to the program that the host
// has named in core_pattern, and be there until that has read it. A limit of 1 is
// what core(5) has for a pipe, which a limit of 0 does not hold off; from a hard limit
// of 0 it cannot be reached.
func NoCore() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{Cur: 1, Max: 1})
}
