package kernfs

import (
	"bytes"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Int makes a file with a number that may be set within [low, high].
func Int(v *atomic.Int64, low, high int64) *File {
	f := Func(func(b *bytes.Buffer) {
		b.WriteString(strconv.FormatInt(v.Load(), 10))
		b.WriteByte('\n')
	})
	f.Mode = unix.S_IFREG | 0644
	f.Write = func(_ vfs.Caller, data []byte) abi.Errno {
		n, ok := ParseInt(data)
		if !ok || n < low || n > high {
			return unix.EINVAL
		}
		v.Store(n)
		return 0
	}
	return f
}

// ParseInt reads the number that a sysctl is given: space around it is no
// matter.
func ParseInt(data []byte) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimRight(string(data), "\x00")), 0, 64)
	return n, err == nil
}

// String makes a file with a line that may be set.
func String(get func() string, set func(string) abi.Errno) *File {
	f := Func(func(b *bytes.Buffer) {
		b.WriteString(get())
		b.WriteByte('\n')
	})
	if set == nil {
		return f
	}
	f.Mode = unix.S_IFREG | 0644
	f.Write = func(_ vfs.Caller, data []byte) abi.Errno {
		line, _, _ := strings.Cut(string(data), "\n")
		line, _, _ = strings.Cut(line, "\x00")
		return set(line)
	}
	return f
}
