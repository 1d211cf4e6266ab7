package syscalls

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
)

// CountsMark begins the line that Counts writes.
const CountsMark = "bulkhead-calls: "

// Counts are how often each call was made, and what it was refused with: much
// cheaper than a trace, for who wants the sum (`bulkhead advise`).
type Counts struct {
	made    [len(Table)]atomic.Uint64
	unknown atomic.Uint64 // numbers outside the table
	mu      sync.Mutex
	errs    map[failure]uint64 // under mu
}

type failure struct {
	nr uint32
	e  abi.Errno
}

// Counted is one call as the line has it.
type Counted struct {
	Nr     uint32            `json:"nr"`
	Name   string            `json:"name"`
	Times  uint64            `json:"times"`
	Errors map[string]uint64 `json:"errors,omitempty"`
	State  string            `json:"state"` // of its row: full, partial, refused
	Note   string            `json:"note,omitempty"`
}

// Watch counts what passes.
func (c *Counts) Watch(next kernel.Dispatcher) kernel.Dispatcher {
	c.errs = map[failure]uint64{}
	return func(t *kernel.Task, nr uint32, args *[6]uint64, ip uint64) (uint64, abi.Errno) {
		if nr < uint32(len(c.made)) {
			c.made[nr].Add(1)
		} else {
			c.unknown.Add(1)
		}
		v, e := next(t, nr, args, ip)
		if e != 0 && e < 512 {
			c.mu.Lock()
			c.errs[failure{nr, e}]++
			c.mu.Unlock()
		}
		return v, e
	}
}

// WriteTo writes the counts as one line of JSON behind CountsMark.
func (c *Counts) WriteTo(w io.Writer) (int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := []Counted{}
	for nr := range c.made {
		n := c.made[nr].Load()
		if n == 0 {
			continue
		}
		row := Table[nr].show()
		e := Counted{Nr: uint32(nr), Name: row.Name, Times: n, State: row.State, Note: row.Lacks + row.Reason}
		for f, times := range c.errs {
			if f.nr == uint32(nr) {
				if e.Errors == nil {
					e.Errors = map[string]uint64{}
				}
				e.Errors[unix.ErrnoName(f.e)] = times
			}
		}
		out = append(out, e)
	}
	line, err := json.Marshal(out)
	if err != nil {
		return 0, err
	}
	n, err := fmt.Fprintf(w, "%s%s\n", CountsMark, line)
	return int64(n), err
}
