package platform

import (
	_ "embed"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

//go:generate stub/build.sh ../stub.elf

// stubELF is the stub's program, built from stub/ by build.sh; a test builds it
// again and compares.
//
//go:embed stub.elf
var stubELF []byte

// Platform is the zygote and the processes that came of it.
type Platform struct {
	zygote *Thread
	vdso   uint64 // where the vdso lies in every guest process
	// gettime is its clock_gettime, or 0.
	gettime uint64

	zmu sync.Mutex // held while the zygote works

	mu     sync.Mutex
	procs  map[int]*Process
	early  map[int]unix.WaitStatus // reaped before anybody knew the pid
	frozen bool                    // who comes is stopped, too

	pool chan *Thread // stub processes that wait for a program
}

// VDSO is the address of the host's vdso in guests, for AT_SYSINFO_EHDR; 0 if
// there is none.
func (p *Platform) VDSO() uint64 { return p.vdso }

// New starts the zygote. The caller is the parent of every guest process: it
// must not wait for children of its own any more. procfs is where /proc is:
// "/proc/", or "" for the working directory, which the zygote leaves.
func New(procfs string) (*Platform, error) {
	p := &Platform{procs: map[int]*Process{}, early: map[int]unix.WaitStatus{}, pool: make(chan *Thread, 2)}
	area, err := newArea()
	if err != nil {
		return nil, err
	}
	t, err := area.newThread(nil) // before the zygote writes to its slot
	if err != nil {
		return nil, err
	}
	pid, err := startZygote(area, procfs)
	if err != nil {
		return nil, err
	}
	proc := &Process{p: p, pid: pid}
	p.procs[pid] = proc
	area.handedOver()
	t.adopt(proc)
	p.zygote = t
	go p.reap()
	if k := t.wait(); k != KindReady {
		return nil, fmt.Errorf("the stub did not start: event %d", k)
	}
	if err := p.prepare(t); err != nil {
		return nil, err
	}
	return p, nil
}

// startZygote executes the stub from a memfd with its slots on descriptor 3 and
// its socket on 4.
func startZygote(a *Area, proc string) (int, error) {
	exe, err := unix.MemfdCreate("bulkhead-stub", unix.MFD_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("memfd_create for the stub: %w", err)
	}
	f := os.NewFile(uintptr(exe), "stub")
	defer f.Close()
	if _, err := f.Write(stubELF); err != nil {
		return 0, fmt.Errorf("writing the stub: %w", err)
	}
	path := fmt.Sprintf("%sself/fd/%d", proc, exe)
	none := ^uintptr(0)
	pid, err := syscall.ForkExec(path, []string{"bulkhead-guest"}, &syscall.ProcAttr{
		Dir:   proc,
		Env:   []string{},
		Files: []uintptr{none, none, none, uintptr(a.fd), uintptr(a.theirs)},
		Sys:   &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 0, fmt.Errorf("starting the stub: %w", err)
	}
	return pid, nil
}

// prepare empties the zygote's address space but for stub and vdso, and
// installs the filter.
func (p *Platform) prepare(t *Thread) error {
	n := int64(t.slot.result)
	if n <= 0 || n > inMax {
		return fmt.Errorf("the stub could not read /proc/self/maps: is /proc mounted? (%d)", n)
	}
	maps, err := parseMaps(string(t.data[:n]))
	if err != nil {
		return err
	}
	to := uint64(vdsoBase)
	for _, m := range maps {
		if m.start >= StubBase && m.start < slotBase+slotSize*maxSlots && m.name != "[stack]" && m.name != "[vdso]" && !m.vvar() {
			continue
		}
		switch {
		case m.name == "[vdso]" || m.vvar():
			t.add(opMremap, m.start, m.end-m.start, m.end-m.start, unix.MREMAP_MAYMOVE|unix.MREMAP_FIXED, to)
			if m.name == "[vdso]" {
				p.vdso = to
				p.gettime = p.findGettime(t.proc, m)
			}
			to += m.end - m.start
		case m.name == "[vsyscall]":
		default:
			t.add(opMunmap, m.start, m.end-m.start)
		}
	}
	f := guestFilter()
	off, err := t.put(filterBytes(f))
	if err != nil {
		return err
	}
	t.add(opSeccomp, uint64(off), uint64(len(f)))
	if k := t.Do(); k != KindDone {
		return fmt.Errorf("preparing the stub: operation %d: %w", t.Req.FailedOp, t.Req.OpErrno)
	}
	return nil
}

// reap waits for guest processes for as long as there are any.
func (p *Platform) reap() {
	for {
		var ws unix.WaitStatus
		pid, err := unix.Wait4(-1, &ws, unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return
		}
		p.mu.Lock()
		proc := p.procs[pid]
		if proc == nil {
			p.early[pid] = ws
		}
		delete(p.procs, pid)
		p.mu.Unlock()
		if proc != nil {
			proc.died(ws)
		}
	}
}

// register makes the process of a child that the stub reported. The pid is a
// hint: it must be an unknown child of ours.
func (p *Platform) register(pid int) *Process {
	proc := &Process{p: p, pid: pid}
	p.mu.Lock()
	defer p.mu.Unlock()
	if ws, ok := p.early[pid]; ok {
		delete(p.early, pid)
		proc.dead, proc.status = true, ws
		return proc
	}
	if p.procs[pid] != nil || !isChild(pid) {
		return nil
	}
	p.procs[pid] = proc
	if p.frozen { // its fork was under way
		unix.Kill(pid, unix.SIGSTOP)
	}
	return proc
}

func isChild(pid int) bool {
	if pid <= 1 {
		return false
	}
	var si unix.Siginfo
	err := unix.Waitid(unix.P_PID, pid, &si, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil)
	return err == nil
}

// Spawn gives the thread of an empty guest process, which waits for its first
// reply: map a program, then Start.
func (p *Platform) Spawn() (*Thread, error) {
	select {
	case t := <-p.pool:
		go p.refill()
		if !t.proc.Dead() {
			return t, nil
		}
		t.Free()
	default:
	}
	return p.spawn()
}

func (p *Platform) spawn() (*Thread, error) {
	p.zmu.Lock()
	defer p.zmu.Unlock()
	return p.zygote.Fork()
}

func (p *Platform) refill() {
	t, err := p.spawn()
	if err != nil {
		return
	}
	select {
	case p.pool <- t:
	default:
		t.proc.Kill()
		t.Free()
	}
}

// Close ends every process of the platform.
func (p *Platform) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, proc := range p.procs {
		unix.Kill(proc.pid, unix.SIGKILL)
	}
}

// Freeze stops every guest process with SIGSTOP, those too that come while it lasts,
// or continues them.
func (p *Platform) Freeze(on bool) {
	sig := unix.SIGCONT
	if on {
		sig = unix.SIGSTOP
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = on
	for _, proc := range p.procs {
		if proc != p.zygote.proc {
			unix.Kill(proc.pid, sig)
		}
	}
}
