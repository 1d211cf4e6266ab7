package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/agent/word"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// modules loads the modules that the initramfs has, group by group, when they
// are needed: a clone of a template gets its disk before the disk's driver.
type modules struct {
	dir int // descriptor of the directory

	mu     sync.Mutex
	groups map[string][]string // name → files in order
	names  []string            // of groups, in order
	loaded map[string]bool     // files
	list   []string            // of what was loaded
	spent  []string            // files that nobody needs any more
}

func newModules(dir int) (*modules, error) {
	raw, err := readAt(dir, "index")
	if err != nil {
		return nil, fmt.Errorf("modules of the initramfs: %w", err)
	}
	m := &modules{dir: dir, groups: make(map[string][]string), loaded: make(map[string]bool)}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		if len(f) > 0 {
			m.groups[f[0]] = f[1:]
			m.names = append(m.names, f[0])
		}
	}
	return m, nil
}

func readAt(dir int, name string) ([]byte, error) {
	fd, err := unix.Openat(dir, name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	return io.ReadAll(f)
}

// has says whether there is such a group: built into the kernel or here.
func (m *modules) has(group string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.groups[group]
	return ok
}

// load loads a group unless it is loaded.
func (m *modules) load(group string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	files, ok := m.groups[group]
	if !ok {
		return fmt.Errorf("the guest's kernel has no modules for %q", group)
	}
	for _, file := range files {
		if m.loaded[file] {
			continue
		}
		if err := m.insert(file); err != nil {
			return fmt.Errorf("module %s: %w", file, err)
		}
		m.done(file)
	}
	return nil
}

// done notes that a module is loaded.
func (m *modules) done(file string) {
	say("module %s is loaded", file)
	m.loaded[file] = true
	m.list = append(m.list, file)
	m.spent = append(m.spent, file)
}

// release gives back the initramfs's memory of what is loaded.
func (m *modules) release() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, file := range m.spent {
		_ = unix.Unlinkat(m.dir, file, 0)
	}
	m.spent = nil
}

// insert loads one module.
func (m *modules) insert(file string) error {
	fd, err := unix.Openat(m.dir, file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.FinitModule(fd, "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// boot loads what the channel needs, but for what the first word took.
func (m *modules) boot(g *word.Greeting) error {
	for _, file := range g.Loaded {
		m.done(file)
	}
	if g.FD >= 0 { // so all of it is there
		return nil
	}
	if err := m.loadTransports(); err != nil {
		return err
	}
	return m.load(agentpb.GroupBoot)
}

// loadTransports loads the drivers of the buses that the VM has.
func (m *modules) loadTransports() error {
	if m.has(agentpb.GroupMMIO) {
		if err := m.load(agentpb.GroupMMIO); err != nil {
			return err
		}
	}
	if m.has(agentpb.GroupPCI) && onPCI() {
		return m.load(agentpb.GroupPCI)
	}
	return nil
}

// onPCI says whether the PCI bus has anything on it.
func onPCI() bool {
	d, err := os.Open("/sys/bus/pci/devices")
	if err != nil {
		return false
	}
	defer d.Close()
	names, _ := d.Readdirnames(1)
	return len(names) > 0
}

func (m *modules) report() (groups, loaded []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.names...), append([]string(nil), m.list...)
}
