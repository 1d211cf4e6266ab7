package gofer

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// keepCaps drops every capability but those of keep, on all threads. With
// nothing inheritable the ambient set is empty too (capabilities(7)), and
// no_new_privs leaves the bounding set without a meaning: no execve adds
// anything. Dropping that one by one would stop all threads forty times.
func keepCaps(keep uint64) error {
	head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var have [2]unix.CapUserData
	if err := unix.Capget(&head, &have[0]); err != nil {
		return fmt.Errorf("gofer: reading capabilities: %w", err)
	}
	for i := range have {
		have[i].Permitted &= uint32(keep >> (32 * i))
		have[i].Effective = have[i].Permitted
		have[i].Inheritable = 0
	}
	_, _, e := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&head)), uintptr(unsafe.Pointer(&have[0])), 0)
	if e != 0 {
		return fmt.Errorf("gofer: dropping capabilities: %w", e)
	}
	return nil
}

// Rights of Landlock (landlock(7)).
const (
	llReadFile  = 1 << 2
	llReadDir   = 1 << 3
	llWriteFile = 1 << 1
	llRefer     = 1 << 13
	llTruncate  = 1 << 14
	// llChange: remove_dir, remove_file, make_char … make_sym, without
	// make_char, make_block.
	llChange = 1<<4 | 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<12
	llAll    = 1<<13 - 1
)

type landlockRuleset struct{ fs, net, scoped uint64 }

// landlockPath is struct landlock_path_beneath_attr, which is packed.
type landlockPath struct {
	rights uint64
	fd     int32
}

// landlock lets the process reach files below its roots alone.
func landlock(trees []*tree) error {
	abi, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, 1)
	if e != 0 {
		return nil // not in this kernel, or not enabled
	}
	set := landlockRuleset{fs: llAll}
	if abi >= 2 {
		set.fs |= llRefer
	}
	if abi >= 3 {
		set.fs |= llTruncate
	}
	fd, _, e := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&set)), 8, 0)
	if e != 0 {
		return fmt.Errorf("gofer: landlock_create_ruleset: %w", e)
	}
	defer unix.Close(int(fd))
	for _, t := range trees {
		rule := landlockPath{fd: int32(t.root)}
		rule.rights = llReadFile | llReadDir
		if !t.readonly {
			rule.rights |= (llWriteFile | llChange | llRefer | llTruncate) & set.fs
		}
		if t.file != nil {
			file, e := openat(t.root, t.file, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if e != 0 {
				return fmt.Errorf("gofer: opening a root that is a file: %w", e)
			}
			defer closeFD(file)
			rule.fd = int32(file)
			rule.rights &= llReadFile | llWriteFile | llTruncate
		}
		if _, _, e := unix.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE, fd, 1, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); e != 0 {
			return fmt.Errorf("gofer: landlock_add_rule: %w", e)
		}
	}
	if _, _, e := syscall.AllThreadsSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); e != 0 {
		return fmt.Errorf("gofer: landlock_restrict_self: %w", e)
	}
	return nil
}
