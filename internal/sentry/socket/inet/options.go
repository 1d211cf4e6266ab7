package inet

import (
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/socket"
	"golang.org/x/sys/unix"
)

// options are the settings that netstack does not keep: hints that need no
// action here, and values that the socket itself looks at.
type options struct {
	mu   sync.Mutex
	kept map[optKey]int32
}

type optKey struct{ level, name int }

func (o *options) init(s *Socket) {
	if s.isTCP() {
		return
	}
}

func (o *options) get(level, name int) int32 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.kept[optKey{level, name}]
}

func (o *options) set(level, name int, v int32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.kept == nil {
		o.kept = make(map[optKey]int32)
	}
	o.kept[optKey{level, name}] = v
}

func (o *options) inherit(from *options) {
	from.mu.Lock()
	defer from.mu.Unlock()
	for k, v := range from.kept {
		o.set(k.level, k.name, v)
	}
}

// keep remembers an int whose range is lo … hi.
func (s *Socket) keep(level, name int, val []byte, lo, hi int32) abi.Errno {
	v, e := socket.IntOrByte(val)
	if e != 0 {
		return e
	}
	if v < lo || v > hi {
		return unix.EINVAL
	}
	s.opts.set(level, name, v)
	return 0
}
