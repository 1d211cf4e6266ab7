package monitor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/vm/guest"
	"bulkhead.dev/bulkhead/internal/vm/host"
	"bulkhead.dev/bulkhead/internal/vm/hypervisor"
	"bulkhead.dev/bulkhead/internal/wire/agentconn"
	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// A template is a machine that was booted, asked to give back what it does not
// need, and saved: the state of its devices and its memory. It has a channel,
// a source of random numbers, a balloon, and an empty disk in the place of each
// that a clone will have, of the same size, a network device that leads nowhere
// too: the firmware's tables name only what is there at the boot. The network's
// driver is loaded in the clone: what it can do depends on the other end.
//
//	CACHE/template-KEY/state   QEMU's devices
//	CACHE/template-KEY/ram     the memory, with holes
//	CACHE/template-KEY.lock    held by who makes it
//
// The cache belongs to one user, and the key holds the owner that the
// container names, the boot of the host, and everything the machine is made
// of. Clones share what they have not written to of its memory (RAM.Template).
// A page that two sandboxes share can be timed from either: --no-template is
// for who must not share any with others of the same owner.

// template is one that is ready.
type template struct{ dir string }

func (t *template) state() string { return filepath.Join(t.dir, "state") }
func (t *template) ram() string   { return filepath.Join(t.dir, "ram") }

// settle is how long a booted guest is given to report its free pages, so that
// they become holes of the template's memory.
const settle = 2500 * time.Millisecond

// retry is how long a template that could not be made is not tried again; what
// failed within soon is tried once more at once.
const (
	retry = 10 * time.Minute
	soon  = 10 * time.Second
)

// groups are what a template has loaded: all but the drivers of devices whose
// features are the clone's own.
var groups = []string{agentpb.GroupOverlay, agentpb.GroupErofs, agentpb.GroupRNG, agentpb.GroupBalloon, agentpb.GroupBlock}

// template gives the template of this machine, made if there is none; nil if
// the machine is to be booted: because it was asked for, because somebody else
// is just making the template, or because it could not be made.
func (m *monitor) template(disks []hypervisor.Disk, nets int) *template {
	if m.cfg.VM.NoTemplate {
		return nil
	}
	t := &template{dir: filepath.Join(m.machine.dir, "template-"+m.templateKey(disks, nets))}
	there, err := t.ensure(func() error { return m.makeTemplate(t, disks, nets) })
	if err != nil {
		fmt.Fprintf(os.Stderr, "bulkhead: no template for fast starts: %v\n", err)
	}
	if !there {
		return nil
	}
	return t
}

// ensure has a template made unless it is there, and says whether it is now: not if
// somebody else is just making it, or it could not be made a short while ago.
func (t *template) ensure(produce func() error) (there bool, err error) {
	if t.ready() {
		return true, nil
	}
	lock, err := os.OpenFile(t.dir+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	defer lock.Close()
	if unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return false, nil
	}
	_ = os.Chtimes(t.dir+".lock", time.Now(), time.Now())
	if t.ready() {
		return true, nil
	}
	if t.failed() {
		return false, nil
	}
	begin := time.Now()
	err = produce()
	if err != nil && time.Since(begin) < soon {
		err = produce()
	}
	if err != nil {
		t.fail(err)
		return false, err
	}
	return true, nil
}

// prepareSnapshot asks the agent of a machine to be ready for its copy. A machine
// that does not get so far says where it is.
func (m *monitor) prepareSnapshot(vm hypervisor.VM, conn *agentconn.Conn, req *agentpb.SnapshotRequest) error {
	before, _ := vm.Stats()
	ctx, cancel := context.WithTimeout(m.ctx, createWait)
	defer cancel()
	_, err := conn.Agent().PrepareSnapshot(ctx, req)
	if err == nil {
		return nil
	}
	err = agentError("preparing a snapshot", err)
	s, ok := vm.(interface{ State() string })
	if !ok {
		return err
	}
	after, _ := vm.Stats()
	return fmt.Errorf("%w; %s, the hypervisor has used %v of CPU time meanwhile", err, s.State(), after.CPU-before.CPU)
}

// failed says whether it could not be made a short while ago.
func (t *template) failed() bool {
	st, err := os.Stat(t.dir + ".failed")
	return err == nil && time.Since(st.ModTime()) < retry
}

func (t *template) fail(err error) { _ = os.WriteFile(t.dir+".failed", []byte(err.Error()), 0o600) }

func (t *template) ready() bool {
	_, err := os.Stat(t.dir)
	return err == nil
}

// templateKey names everything that a clone must have in common.
func (m *monitor) templateKey(disks []hypervisor.Disk, nets int) string {
	h := sha256.New()
	x := &m.machine
	self, _ := os.Readlink("/proc/self/exe") // which devices a machine has, in which order, is this program's to say
	for _, s := range []string{
		"4", host.BootID(), host.ProgramID(x.program), host.ProgramID(self), x.kernel, x.initrd, string(x.accel), x.commandLine(),
		fmt.Sprint(m.memory, x.cpus, sizes(disks), nets), m.cfg.Container.Annotations[ownerAnnotation],
	} {
		fmt.Fprintf(h, "%d:%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil))[:40]
}

// ownerAnnotation keeps the templates of one tenant from another's.
const ownerAnnotation = "dev.bulkhead.vm.owner"

// makeTemplate boots a machine and saves it.
func (m *monitor) makeTemplate(t *template, disks []hypervisor.Disk, nets int) error {
	removeOldTemplates(m.machine.dir)
	cfg := m.machine.config(m.memory, filepath.Join(m.scratch, "template"))
	if err := makeRAM(cfg.Memory); err != nil {
		return err
	}
	defer os.Remove(cfg.Memory.Path)
	for i, size := range sizes(disks) {
		f, err := m.placeholder(size)
		if err != nil {
			return err
		}
		defer f.Close()
		cfg.Disks = append(cfg.Disks, hypervisor.Disk{ID: disks[i].ID, File: f, ReadOnly: true})
	}
	for i := range nets {
		cfg.Nets = append(cfg.Nets, hypervisor.Net{ID: fmt.Sprint("net", i), MAC: slotMAC(i)})
	}
	vm, conn, err := m.machine.up(cfg, nil)
	if err != nil {
		return err
	}
	defer func() {
		vm.Kill()
		<-vm.Done()
	}()
	if conn.TimersWrong { // all clones would have them
		conn.Close()
		return errTimers
	}
	err = m.prepareSnapshot(vm, conn, &agentpb.SnapshotRequest{ModuleGroups: groups})
	conn.Close()
	if err != nil {
		return err
	}
	time.Sleep(settle)
	return t.save(vm, m.machine.dir, cfg.Memory.Path)
}

// save makes a template of a machine, all of it or none.
func (t *template) save(vm hypervisor.VM, cache, ram string) error {
	tmp, err := os.MkdirTemp(cache, "template-new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := saveTo(vm, tmp, ram); err != nil {
		return err
	}
	return os.Rename(tmp, t.dir)
}

// sizes are those of disks; -1 of one that cannot be told.
func sizes(disks []hypervisor.Disk) (out []int64) {
	for _, d := range disks {
		size := int64(-1)
		if st, err := d.File.Stat(); err == nil {
			size = st.Size()
		}
		out = append(out, size)
	}
	return out
}

// placeholder is a disk with nothing on it.
func (m *monitor) placeholder(size int64) (*os.File, error) {
	f, err := os.CreateTemp(m.scratch, "disk")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer os.Remove(f.Name())
	if err := f.Truncate(size); err != nil {
		return nil, err
	}
	// Read-only, as QEMU asks of the descriptor of such a disk.
	return os.Open(f.Name())
}

func saveTo(vm hypervisor.VM, dir, ram string) error {
	state, err := os.OpenFile(filepath.Join(dir, "state"), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer state.Close()
	if err := vm.Save(state); err != nil {
		return err
	}
	return copySparse(filepath.Join(dir, "ram"), ram)
}

// touch says that a template was used: the one that was not for longest is the
// first to be removed.
func (t *template) touch() {
	now := time.Now()
	_ = os.Chtimes(t.dir, now, now)
}

// removeOldTemplates removes those of earlier boots, and those beyond a few.
func removeOldTemplates(dir string) {
	const keep = 8
	list, err := filepath.Glob(filepath.Join(dir, "template-*"))
	if err != nil {
		return
	}
	var dirs []string
	for _, name := range list {
		st, err := os.Stat(name)
		if err != nil {
			continue
		}
		if st.ModTime().Before(bootTime()) {
			os.RemoveAll(name)
			continue
		}
		if !st.IsDir() {
			continue // a lock, or a note of this boot
		}
		dirs = append(dirs, name)
	}
	for len(dirs) >= keep {
		oldest := 0
		for i := range dirs {
			a, erra := os.Stat(dirs[i])
			b, errb := os.Stat(dirs[oldest])
			if erra == nil && errb == nil && a.ModTime().Before(b.ModTime()) {
				oldest = i
			}
		}
		os.RemoveAll(dirs[oldest])
		os.Remove(dirs[oldest] + ".lock")
		dirs = append(dirs[:oldest], dirs[oldest+1:]...)
	}
}

func bootTime() time.Time {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(ts.Nano()))
}

// restore makes this sandbox's machine from a template. The template's memory
// is mapped privately; where QEMU does not let it be so it is copied.
func (m *monitor) restore(cfg *hypervisor.Config, t *template) error {
	t.touch()
	vm, conn, err := m.clone(cfg, t, m.startConfined)
	if err != nil {
		return err
	}
	m.vm, m.conn = vm, conn
	m.agent = m.conn.Agent()
	m.watch()
	return nil // Create sets the clock and the random pool before all else
}

// clone makes a machine from a template, with its memory as start gives it.
func (m *monitor) clone(cfg *hypervisor.Config, t *template, start starter) (vm hypervisor.VM, conn *agentconn.Conn, err error) {
	state, err := os.Open(t.state())
	if err != nil {
		return nil, nil, fmt.Errorf("template: %w", err)
	}
	defer state.Close()
	stub := filepath.Join(m.scratch, "stub")
	if err := os.WriteFile(stub, guest.StubKernel(), 0o644); err != nil {
		return nil, nil, fmt.Errorf("template: %w", err)
	}
	cfg.Kernel, cfg.Initrd, cfg.Append, cfg.Incoming = stub, "", "", true
	ours, theirs, err := channel()
	if err != nil {
		return nil, nil, err
	}
	defer theirs.Close()
	cfg.Channel = theirs
	if vm, err = start(cfg, t); err != nil {
		ours.Close()
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			ours.Close()
			vm.Kill()
			<-vm.Done()
		}
	}()
	m.stage("the clone's hypervisor")
	if err := vm.Restore(state); err != nil {
		select {
		case <-vm.Done():
			err = vm.Err()
		case <-time.After(time.Second):
		}
		return nil, nil, fmt.Errorf("restoring from the template: %w", err)
	}
	if err := vm.Resume(); err != nil {
		return nil, nil, fmt.Errorf("template: %w", err)
	}
	m.stage("the clone's devices")
	conn, err = greet(vm, ours, bootWait, nil)
	return vm, conn, err
}

// starter starts the hypervisor of a clone.
type starter func(cfg *hypervisor.Config, t *template) (hypervisor.VM, error)

// startConfined starts the sandbox's own, and confines the monitor.
func (m *monitor) startConfined(cfg *hypervisor.Config, t *template) (hypervisor.VM, error) {
	vm, err := m.startClone(cfg, t)
	if err != nil {
		return nil, err
	}
	if err := m.confine(vm); err != nil {
		vm.Kill()
		<-vm.Done()
		return nil, err
	}
	return vm, nil
}

// startClone starts it over the template's memory, or over a copy.
func (m *monitor) startClone(cfg *hypervisor.Config, t *template) (hypervisor.VM, error) {
	ram, err := os.Open(t.ram())
	if err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	defer ram.Close()
	cfg.Memory.Template = ram
	vm, err := m.machine.driver.Start(cfg)
	if err == nil {
		return vm, nil
	}
	m.debugf("the template's memory cannot be mapped: %v", err)
	return m.startCopy(cfg, t)
}

// startCopy starts it over a copy of the template's memory.
func (m *monitor) startCopy(cfg *hypervisor.Config, t *template) (hypervisor.VM, error) {
	cfg.Memory.Template = nil
	if err := makeRAM(cfg.Memory); err != nil {
		return nil, err
	}
	if err := copySparse(cfg.Memory.Path, t.ram()); err != nil {
		return nil, fmt.Errorf("template: %w", err)
	}
	return m.machine.driver.Start(cfg)
}

// copySparse copies the parts of a file that hold something (lseek(2),
// SEEK_DATA and SEEK_HOLE).
func copySparse(to, from string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer dst.Close()
	st, err := src.Stat()
	if err != nil {
		return err
	}
	if err := dst.Truncate(st.Size()); err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for at := int64(0); at < st.Size(); {
		data, err := unix.Seek(int(src.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return &fs.PathError{Op: "seek", Path: from, Err: err}
		}
		hole, err := unix.Seek(int(src.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return &fs.PathError{Op: "seek", Path: from, Err: err}
		}
		if err := copyRange(dst, src, data, hole, buf); err != nil {
			return err
		}
		at = hole
	}
	return nil
}

// copyRange leaves out blocks of zeros: free pages of the guest that were
// never reported.
func copyRange(dst, src *os.File, from, to int64, buf []byte) error {
	for from < to {
		n, err := src.ReadAt(buf[:min(int64(len(buf)), to-from)], from)
		if err != nil && err != io.EOF {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		if err := writeNonZero(dst, buf[:n], from); err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

var zeroPage [4096]byte

func writeNonZero(dst *os.File, b []byte, at int64) error {
	start := -1
	for off := 0; off < len(b); off += len(zeroPage) {
		page := b[off:min(off+len(zeroPage), len(b))]
		zero := string(page) == string(zeroPage[:len(page)])
		if !zero && start < 0 {
			start = off
		}
		if zero && start >= 0 {
			if _, err := dst.WriteAt(b[start:off], at+int64(start)); err != nil {
				return err
			}
			start = -1
		}
	}
	if start >= 0 {
		if _, err := dst.WriteAt(b[start:], at+int64(start)); err != nil {
			return err
		}
	}
	return nil
}
