// Package audit owns `bulkhead audit`: what each wall leaves in a container's
// reach, measured from inside and read from the filters of its processes,
// against the host without a profile and the default seccomp profile.
//
//	cases    what is called        probe     the part that runs behind the wall
//	run      containers and probe  outcome   what became of a call, in words
//	profile  the default profile   filters   seccomp programs of live processes, what they allow
//	trace    calls that are made   walls     what is left of the host's kernel, per process
//	verdict  what follows          markdown, html, drill: what is written
//
// It holds no locks.
package audit
