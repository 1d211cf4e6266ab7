package hypervisor

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// ProcStats reads what a process uses from /proc/pid/stat: utime, stime
// (fields 14 and 15, in ticks of 10 ms) and rss (24, in pages).
func ProcStats(pid int) (Stats, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stats{}, err
	}
	i := bytes.LastIndexByte(raw, ')')
	f := bytes.Fields(raw[i+1:])
	if i < 0 || len(f) < 22 {
		return Stats{}, fmt.Errorf("/proc/%d/stat: malformed", pid)
	}
	num := func(field int) int64 {
		n, _ := strconv.ParseInt(string(f[field-3]), 10, 64)
		return n
	}
	return Stats{
		RSS: num(24) * int64(os.Getpagesize()),
		CPU: time.Duration(num(14)+num(15)) * 10 * time.Millisecond,
	}, nil
}
