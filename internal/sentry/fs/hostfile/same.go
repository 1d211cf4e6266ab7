package hostfile

import "golang.org/x/sys/unix"

// SameOpenFile tells whether two host descriptors of a regular file share their
// offset, as 1 and 2 do after ">log 2>&1": then the guest needs one description
// for both, or its writes through one would cover those through the other.
func SameOpenFile(a, b int) bool {
	var sa, sb unix.Stat_t
	if unix.Fstat(a, &sa) != nil || unix.Fstat(b, &sb) != nil || sa.Dev != sb.Dev || sa.Ino != sb.Ino || sa.Mode&unix.S_IFMT != unix.S_IFREG {
		return false
	}
	at, err := unix.Seek(a, 0, unix.SEEK_CUR)
	if err != nil {
		return false
	}
	before, err := unix.Seek(b, 0, unix.SEEK_CUR)
	if err != nil || before != at {
		return false
	}
	// Only moving one shows whether the other goes along.
	unix.Seek(a, at+1, unix.SEEK_SET)
	after, _ := unix.Seek(b, 0, unix.SEEK_CUR)
	unix.Seek(a, at, unix.SEEK_SET)
	return after == at+1
}
