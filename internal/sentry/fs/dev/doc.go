// Package dev has the devices of memory and of terminals, and fills /dev: null,
// zero, full, random, urandom (null(4), full(4), random(4)), tty, console and
// ptmx (tty(4), console(4), pts(4)). It keeps no state but the console's.
package dev
