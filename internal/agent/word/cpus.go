package word

import "syscall"

// Online gives, once, what came of bringing up the CPUs behind the first; nothing
// in a process that is not PID 1.
var Online = make(chan error, 1)

// cpusDir has a directory for each CPU (Documentation/ABI/testing/sysfs-devices-system-cpu).
const cpusDir = "/sys/devices/system/cpu"

// wake begins to bring up the CPUs, which are numbered in order. Most of it is
// done by the kernel's own threads; the directory is held, as /sys moves.
func (g *Greeting) wake() {
	err := syscall.Mount("sysfs", "/sys", "sysfs", SysFlags, "")
	g.Sys = err == nil
	dir := -1
	if err == nil {
		dir, err = syscall.Open(cpusDir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	}
	if err != nil {
		Online <- cpuError{0, err}
		return
	}
	go func() {
		Online <- bringUpAll(dir)
		_ = syscall.Close(dir)
	}()
}

func bringUpAll(dir int) error {
	for n := 1; ; n++ {
		there, err := bringUp(dir, n)
		if err != nil {
			return cpuError{n, err}
		}
		if !there {
			return nil
		}
	}
}

// bringUp says whether there is such a CPU, which is up then.
func bringUp(dir, n int) (there bool, err error) {
	fd, err := syscall.Openat(dir, "cpu"+decimal(n)+"/online", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err == syscall.ENOENT {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer syscall.Close(fd)
	have := []byte{0}
	if _, err := syscall.Read(fd, have); err != nil || have[0] == '1' {
		return true, err
	}
	_, err = syscall.Write(fd, []byte{'1'})
	return true, err
}

// cpuError says which CPU (cpuError.n, or 0 for all) could not be brought up.
type cpuError struct {
	n   int
	err error
}

func (e cpuError) Error() string { return "bringing up CPU " + decimal(e.n) + ": " + e.err.Error() }
func (e cpuError) Unwrap() error { return e.err }

func decimal(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return decimal(n/10) + decimal(n%10)
}
