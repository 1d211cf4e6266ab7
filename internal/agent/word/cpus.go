package word

import "syscall"

// Online is closed when the CPUs behind the first are up, or one could not be
// brought up: the agent looks once more. It is never closed in a process that is
// not PID 1.
var Online = make(chan struct{})

// cpusDir has a directory for each CPU (Documentation/ABI/testing/sysfs-devices-system-cpu).
const cpusDir = "/sys/devices/system/cpu"

// wake begins to bring up the CPUs, which are numbered in order. Most of it is
// done by the kernel's own threads; the directory is held, as /sys moves.
func (g *Greeting) wake() {
	g.Sys = syscall.Mount("sysfs", "/sys", "sysfs", SysFlags, "") == nil
	dir, err := syscall.Open(cpusDir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		close(Online)
		return
	}
	go func() {
		for n := 1; bringUp(dir, n); n++ {
		}
		_ = syscall.Close(dir)
		close(Online)
	}()
}

// bringUp says whether a CPU is up.
func bringUp(dir, n int) bool {
	fd, err := syscall.Openat(dir, "cpu"+decimal(n)+"/online", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer syscall.Close(fd)
	var have [1]byte
	if k, err := syscall.Read(fd, have[:]); err != nil || k != 1 {
		return false
	}
	if have[0] == '1' {
		return true
	}
	_, err = syscall.Write(fd, []byte{'1'})
	return err == nil
}

func decimal(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return decimal(n/10) + decimal(n%10)
}
