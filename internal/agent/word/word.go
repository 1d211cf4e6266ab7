// Package word says the agent's first word: it loads the drivers of the channel,
// opens it and answers the host's Hello. Go initialises packages in the order of
// what they import, then of their paths; this one imports system calls alone, and
// so comes before the tables of the agent's other packages, its mounts and its
// own protection, which are made while the host thinks about its first request.
// Nothing is lost by the order: the host's next bytes wait in the port.
//
// Then it begins to bring up the CPUs behind the first (cpus.go), so that they are
// there when the first thing comes that can be done beside another.
//
// It knows one way only: modules of virtio over MMIO and a virtio-serial port,
// the only one there is. Whatever is different it leaves to the agent, with what
// was done until then in First; it reports no error, since the agent goes the
// same way again and finds the same.
//
// Locks: none. First is written by package initialisation alone; what brings up
// CPUs says its end by Online.
package word

import "syscall"

// Greeting is what came of it.
type Greeting struct {
	// Devices says that the kernel's devices are mounted on /dev, Sys that sysfs is
	// on /sys, Proc that proc is on /proc.
	Devices, Sys, Proc bool
	// Timers is how long a timer takes, in thousandths of the time that it was set
	// to; 0 if nobody has said by which rate to judge (timers.go).
	Timers uint64
	// Loaded are the files of modules that were loaded.
	Loaded []string
	// Port is the name of the port's device, if FD is open.
	Port string
	FD   int
	// Said says that the host's Hello was answered; else Pending is what was
	// read of it.
	Said    bool
	Pending []byte
	// Nanoseconds after the kernel began: this package, the port opened, the
	// Hello answered.
	Began, Opened, Answered uint64
}

// First is the greeting of this boot.
var First = Greeting{FD: -1}

// Names and numbers as in packages agentpb and agentconn, which a test compares.
const (
	modulesDir   = "/modules/"
	modulesIndex = modulesDir + "index"
	magic        = "BULKHEAD"
	helloSize    = 16
	version      = 1
	flagTimers   = 1
	portPrefix   = "vport"
)

// groups are loaded in this order: the transport and the port's driver.
var groups = []string{"mmio", "boot"}

// Flags of the mounts of /dev and /sys.
const (
	DeviceFlags = syscall.MS_NOSUID | syscall.MS_NOEXEC
	SysFlags    = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
)

func init() {
	if syscall.Getpid() != 1 {
		return
	}
	First.Began = bootNanos()
	index, ok := readFile(modulesIndex)
	if !ok { // not the agent's initramfs, without which there is no agent
		return
	}
	First.checkTimers()
	First.say(index)
	First.wake()
}

func (g *Greeting) say(index []byte) {
	if syscall.Mount("devtmpfs", "/dev", "devtmpfs", DeviceFlags, "mode=755") != nil {
		return
	}
	g.Devices = true
	for _, name := range groups {
		if !g.load(line(index, name)) {
			return
		}
	}
	if g.open() {
		g.answer()
	}
}

// line gives the words behind a group's name in the index; nil if it has none.
func line(index []byte, group string) []string {
	for len(index) > 0 {
		n := 0
		for n < len(index) && index[n] != '\n' {
			n++
		}
		text := string(index[:n])
		if len(text) > len(group) && text[:len(group)] == group && text[len(group)] == ' ' {
			return words(text[len(group):])
		}
		index = index[min(n+1, len(index)):]
	}
	return nil
}

// words splits at spaces.
func words(s string) (list []string) {
	start := 0
	for i := 0; i <= len(s); i++ {
		if i < len(s) && s[i] != ' ' {
			continue
		}
		if i > start {
			list = append(list, s[start:i])
		}
		start = i + 1
	}
	return list
}

// load loads the modules of a group (finit_module(2)).
func (g *Greeting) load(files []string) bool {
	for _, file := range files {
		if g.has(file) {
			continue
		}
		fd, err := syscall.Open(modulesDir+file, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			return false
		}
		errno := finitModule(fd)
		_ = syscall.Close(fd)
		if errno != 0 && errno != syscall.EEXIST {
			return false
		}
		g.Loaded = append(g.Loaded, file)
	}
	return true
}

func (g *Greeting) has(file string) bool {
	for _, f := range g.Loaded {
		if f == file {
			return true
		}
	}
	return false
}

// The driver makes the port when the hypervisor has announced it, which it does
// while the driver asks: a few looks are enough, or the port is on a bus whose
// driver is not loaded.
const (
	looks = 20
	pause = 500_000 // ns between them
)

// open opens the only port. The driver makes its device a moment before it can be
// opened (ENXIO).
func (g *Greeting) open() bool {
	for range looks {
		if g.Port = onlyPort("/dev"); g.Port != "" {
			fd, err := syscall.Open("/dev/"+g.Port, syscall.O_RDWR|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
			if err == nil {
				g.FD, g.Opened = fd, bootNanos()
				return true
			}
		}
		rest()
	}
	return false
}

// onlyPort gives the name of the one port in a directory of devices.
func onlyPort(dir string) (name string) {
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer syscall.Close(fd)
	var buf [4096]byte
	var names []string
	for {
		n, err := syscall.ReadDirent(fd, buf[:])
		if err != nil || n <= 0 {
			break
		}
		_, _, names = syscall.ParseDirent(buf[:n], -1, names)
	}
	for _, s := range names {
		if len(s) < len(portPrefix) || s[:len(portPrefix)] != portPrefix {
			continue
		}
		if name != "" {
			return ""
		}
		name = s
	}
	return name
}

// answer reads the host's Hello and says the agent's.
func (g *Greeting) answer() {
	var hello [helloSize]byte
	have := 0
	for tries := 0; have < len(hello) && tries < looks; {
		n, err := syscall.Read(g.FD, hello[have:])
		switch {
		case n > 0:
			have += n
			continue
		case err != nil && err != syscall.EAGAIN && err != syscall.EINTR:
			tries = looks
		}
		tries++ // nothing yet, or the host has not connected: no event tells of that
		rest()
	}
	g.Pending = append(g.Pending, hello[:have]...)
	if have < len(hello) || string(hello[:len(magic)]) != magic || hello[8] != version || hello[9] != 0 {
		return
	}
	hello[10], hello[11] = 0, 0 // the flags; the nonce is the host's
	if g.TimersWrong() {
		hello[10] = flagTimers
	}
	// What the host writes may be there before the driver has heard that the host
	// is connected: until then there is no room for an answer (EAGAIN).
	for range looks {
		n, err := syscall.Write(g.FD, hello[:])
		if n == len(hello) && err == nil {
			g.Said, g.Pending, g.Answered = true, nil, bootNanos()
			return
		}
		if n > 0 || err != nil && err != syscall.EAGAIN && err != syscall.EINTR {
			return
		}
		rest()
	}
}

func rest() {
	ts := syscall.Timespec{Nsec: pause}
	_ = syscall.Nanosleep(&ts, nil)
}

func readFile(name string) ([]byte, bool) {
	fd, err := syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil, false
	}
	defer syscall.Close(fd)
	var text []byte
	var buf [1024]byte
	for {
		n, err := syscall.Read(fd, buf[:])
		if err == syscall.EINTR {
			continue
		}
		if err != nil {
			return nil, false
		}
		if n == 0 {
			return text, true
		}
		text = append(text, buf[:n]...)
	}
}
