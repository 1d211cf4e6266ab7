// Package filters has the seccomp filters of the VM wall's programs as data: a
// host call, conditions on its arguments, and the reason it is there. They were
// made from traces of boots, templates saved and restored, volumes, networks,
// pauses, updates and ends, and of what the programs' manuals and sources say
// they do beside; `bulkhead audit` traces them again, and shows rules that its
// run did not need.
//
// A program that is not ours lives under its filter from its first instruction
// (internal/vm/jail), and adds its own to it: what it may call is what both
// let through. It owns no state.
package filters
