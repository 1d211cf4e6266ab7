// Package tty has terminals: pseudoterminal pairs (pty(7)) and the line
// discipline N_TTY (termios(3)), with job control (ioctl_tty(2)).
//
// A pair has two ends, and each end has a line discipline of its own, as in
// Linux: what one end writes passes that end's output processing, and then the
// other end's input processing. The master's discipline is raw.
//
//	master.Write ─────────────────▶ slave.pending ─▶ slave input ─▶ slave.Read
//	                                                    │ echo
//	master.Read ◀─ master input ◀─ master.pending ◀─────┴─ slave output ◀─ slave.Write
//
// Lock order: Pair.mu guards both ends; it comes before the process table's
// locks and waiter.Queue. Signals are noted under it and sent after it has been
// released (Pair.unlock).
package tty
