package syscalls

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/kernel"
)

// Trace has every call written to w, in strace's manner.
func Trace(w io.Writer, next kernel.Dispatcher) kernel.Dispatcher {
	var mu sync.Mutex
	return func(t *kernel.Task, nr uint32, args *[6]uint64, ip uint64) (uint64, abi.Errno) {
		call := describe(t, nr, args)
		began := time.Now()
		v, e := next(t, nr, args, ip)
		line := fmt.Sprintf("[%d:%d %s] %s = %s <%dµs>\n", t.TGID(), t.TID(), t.Name(), call, result(v, e), time.Since(began).Microseconds())
		mu.Lock()
		io.WriteString(w, line)
		mu.Unlock()
		return v, e
	}
}

// describe shows a call with its arguments by their kinds.
func describe(t *kernel.Task, nr uint32, args *[6]uint64) string {
	if nr >= uint32(len(Table)) || Table[nr].Name == "" {
		return fmt.Sprintf("syscall_%d(%#x, %#x, %#x)", nr, args[0], args[1], args[2])
	}
	row := &Table[nr]
	var parts []string
	for i, kind := range strings.Fields(row.Args) {
		if i < 6 {
			parts = append(parts, argument(t, kind, args[i]))
		}
	}
	return row.Name + "(" + strings.Join(parts, ", ") + ")"
}

func argument(t *kernel.Task, kind string, v uint64) string {
	switch kind {
	case "path", "str":
		if s, e := t.CopyInString(v, 256); e == 0 {
			return fmt.Sprintf("%q", s)
		}
	case "fd":
		if int32(v) == unix.AT_FDCWD {
			return "AT_FDCWD"
		}
		return fmt.Sprint(int32(v))
	case "int", "pid", "sig":
		return fmt.Sprint(int32(v))
	case "uint", "size":
		return fmt.Sprint(v)
	case "off":
		return fmt.Sprint(int64(v))
	case "mode":
		return fmt.Sprintf("0%o", uint32(v))
	}
	if v == 0 {
		return "0"
	}
	return fmt.Sprintf("%#x", v)
}

func result(v uint64, e abi.Errno) string {
	switch {
	case e == 0:
		if int64(v) > 0xffff {
			return fmt.Sprintf("%#x", v)
		}
		return fmt.Sprint(int64(v))
	case e < 512:
		return fmt.Sprintf("-1 %s (%s)", unix.ErrnoName(e), e.Error())
	case e == kernel.ExitTask:
		return "?"
	case e == kernel.EnterProgram:
		return "0 (a new program)"
	case e == kernel.RetryNative:
		return "? (in the stub)"
	}
	return fmt.Sprintf("? (interrupted: %d)", int(e))
}
