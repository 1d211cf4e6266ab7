package inspect

import (
	"bytes"
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// Content is a file of /proc that another part of the Sentry fills in.
type Content struct {
	Mode  uint32 // permissions; 0 is 0444
	Read  func(c vfs.Caller, b *bytes.Buffer) abi.Errno
	Write func(c vfs.Caller, data []byte) abi.Errno // nil: read-only
}

var provided struct {
	sync.RWMutex // a leaf
	m            map[string]Content
}

// Provide gives a file of /proc its content: "net/tcp", "sysvipc/shm",
// "sys/fs/mqueue/msg_max", "locks". For init functions and boot; a later one
// replaces an earlier.
func Provide(path string, c Content) {
	if c.Mode == 0 {
		c.Mode = 0444
	}
	provided.Lock()
	if provided.m == nil {
		provided.m = map[string]Content{}
	}
	provided.m[path] = c
	provided.Unlock()
}

// ProvideText is Provide for a file that cannot fail.
func ProvideText(path string, f func(b *bytes.Buffer)) {
	Provide(path, Content{Read: func(_ vfs.Caller, b *bytes.Buffer) abi.Errno {
		f(b)
		return 0
	}})
}

// Provided calls f for each path that has content.
func Provided(f func(path string, c Content)) {
	provided.RLock()
	defer provided.RUnlock()
	for p, c := range provided.m {
		f(p, c)
	}
}
