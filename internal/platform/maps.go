package platform

import (
	"fmt"
	"strconv"
	"strings"
)

type mapping struct {
	start, end uint64
	name       string
}

func (m mapping) vvar() bool { return strings.HasPrefix(m.name, "[vvar") }

// parseMaps reads what the stub copied of its /proc/self/maps.
func parseMaps(text string) ([]mapping, error) {
	var out []mapping
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		f := strings.Fields(line)
		if len(f) < 5 {
			return nil, fmt.Errorf("the stub's memory map: line %q", line)
		}
		var m mapping
		from, to, ok := strings.Cut(f[0], "-")
		var err1, err2 error
		m.start, err1 = strconv.ParseUint(from, 16, 64)
		m.end, err2 = strconv.ParseUint(to, 16, 64)
		if !ok || err1 != nil || err2 != nil {
			return nil, fmt.Errorf("the stub's memory map: line %q", line)
		}
		if len(f) > 5 {
			m.name = f[5]
		}
		out = append(out, m)
	}
	return out, nil
}
