package kernel

import (
	"bytes"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/inspect"
)

// maxSmaps bounds what is read of a host's smaps.
const maxSmaps = 64 << 20

// Residence reads the host's smaps of the task's process. The host's mappings
// are the guest's, joined or split in other places.
func (s shownTask) Residence() []inspect.Residence {
	m := s.mm()
	if m == nil || procDir() < 0 {
		return nil
	}
	p := m.Host()
	if p == nil {
		return nil
	}
	return parseSmaps(readAllHostProc(strconv.Itoa(p.PID()) + "/smaps"))
}

// readAllHostProc reads a file of the host's /proc to its end.
func readAllHostProc(name string) []byte {
	fd, err := unix.Openat(procDir(), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	b := make([]byte, 0, 64<<10)
	for len(b) < maxSmaps {
		if cap(b)-len(b) < 4096 {
			b = append(make([]byte, 0, 2*cap(b)), b...)
		}
		n, err := unix.Read(fd, b[len(b):cap(b)])
		if err != nil || n <= 0 {
			break
		}
		b = b[:len(b)+n]
	}
	return b
}

// parseSmaps reads the mappings below the stub.
func parseSmaps(text []byte) []inspect.Residence {
	var out []inspect.Residence
	for line := range bytes.Lines(text) {
		name, rest, ok := strings.Cut(string(line), " ")
		if !ok {
			continue
		}
		if field, isField := strings.CutSuffix(name, ":"); isField {
			if len(out) > 0 {
				setResidence(&out[len(out)-1], field, rest)
			}
			continue
		}
		lo, hi, ok := strings.Cut(name, "-")
		start, err1 := strconv.ParseUint(lo, 16, 64)
		end, err2 := strconv.ParseUint(hi, 16, 64)
		if !ok || err1 != nil || err2 != nil || start >= platform.TaskSize {
			break
		}
		out = append(out, inspect.Residence{Start: start, End: end})
	}
	return out
}

func setResidence(r *inspect.Residence, field, value string) {
	for i, n := range inspect.ResidenceNames {
		if n == field {
			r.KiB[i], _ = strconv.ParseUint(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return
		}
	}
}
