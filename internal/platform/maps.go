package platform

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

type mapping struct {
	start, end uint64
	name       string
}

func (m mapping) vvar() bool { return strings.HasPrefix(m.name, "[vvar") }

// readMaps reads /proc/PID/maps.
func readMaps(pid int) ([]mapping, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, fmt.Errorf("the stub's memory map: %w", err)
	}
	defer f.Close()
	var out []mapping
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var m mapping
		var perms, off, dev, ino string
		n, _ := fmt.Sscanf(sc.Text(), "%x-%x %s %s %s %s %s", &m.start, &m.end, &perms, &off, &dev, &ino, &m.name)
		if n < 2 {
			return nil, fmt.Errorf("the stub's memory map: line %q", sc.Text())
		}
		out = append(out, m)
	}
	return out, nil
}
