// Package platform runs guest code: host processes that are held by a filter
// and hand each system call, fault and kick to the Sentry through a shared page.
//
// A Process is one host process; an Area is the shared memory of one guest
// address space, with a slot per thread; a Thread is one host thread and its
// slot. The zygote is a Process that runs no guest code and only forks.
//
//	guest code ─ syscall ─▶ SIGSYS or trampoline ─▶ stub ─▶ slot: request
//	                                                          │ futex or spin
//	Sentry, the task's goroutine: Thread.Resume ◀─────────────┘
//	   … answers, appends operations …
//	Thread.Resume ─▶ slot: reply ─▶ stub carries out the operations ─▶ guest
//
// Everything in a slot is the guest's to change at any time: a request is
// copied once into Thread.Req, and results that the stub reports are hints.
//
// Lock order: Platform.mu → Area.mu. A Thread is used by one goroutine at a
// time, but for Kick and the process's death.
package platform
