// Package vmtest tests the VM wall whole: real programs, a real kernel, QEMU.
// It runs the programs that `make build` has made (bin/, or the directory named
// by BULKHEAD_BIN), and is skipped where there are none, or no QEMU or kernel.
// BULKHEAD_VM_FULL=1 runs all of it; without, a small part, as `make test`
// wants under QEMU's translator.
package vmtest
