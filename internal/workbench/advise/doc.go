// Package advise owns `bulkhead advise`: it runs a command behind the Sentry
// and counts its system calls, looks at what was refused and what it costs
// beside runc or the bare host, and recommends a runtime with reasons.
//
//	run      the runs and their times     calls   what the Sentry counted
//	advice   what follows from both       main    flags, text and JSON
//
// It holds no locks.
package advise
