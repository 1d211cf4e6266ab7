// Package jail starts a helper of the VM wall (QEMU, virtiofsd) in a root that
// holds nothing but the files it is made of, read-only, with namespaces and
// rights of its own. The parent describes the jail (Spec); the same program,
// started again as `bulkhead-vmm jail`, carries it out and executes the helper.
//
//	monitor ── Spec (JSON, a pipe) ──▶ bulkhead-vmm jail --spec-fd=N
//	                                     open_tree of every bind, still in the old root
//	                                     tmpfs, move_mount, pivot_root, the old root unmounted
//	                                     groups, uid, capabilities, no_new_privs, seccomp filter
//	                                     execve
//
// It owns no state.
package jail

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Spec is what `jail` is told.
type Spec struct {
	Argv []string `json:"argv"` // Argv[0] is a path inside the new root
	// Binds make the new root; none leaves the process in the host's.
	Binds []Bind   `json:"binds,omitempty"`
	Dirs  []string `json:"dirs,omitempty"` // empty directories of it
	// UID, if not 0, is who the helper runs as, with no group but GID and
	// Groups.
	UID    int   `json:"uid,omitempty"`
	GID    int   `json:"gid,omitempty"`
	Groups []int `json:"groups,omitempty"`
	// Caps are what is left of root's capabilities when UID is 0.
	Caps uint64 `json:"caps,omitempty"`
	// Proc mounts a /proc of the new PID namespace.
	Proc bool `json:"proc,omitempty"`
	// Memory says that descriptor 0 is a machine's memory, open for reading
	// alone, which the helper is to map privately (memoryFilter).
	Memory bool `json:"memory,omitempty"`
	// NoFile, if not 0, becomes the limit of open files as far as the hard
	// limit allows.
	NoFile uint64 `json:"noFile,omitempty"`
	// Filter, if there is one, holds the helper from its first instruction.
	Filter Program `json:"filter,omitempty"`
}

// Bind puts a file or tree of the host into the new root.
type Bind struct {
	Source string `json:"source"`
	Dest   string `json:"dest"`
	// Writable: not made read-only. Device: device nodes work.
	Writable bool `json:"writable,omitempty"`
	Device   bool `json:"device,omitempty"`
	// Optional: left out when the host has no such file.
	Optional bool `json:"optional,omitempty"`
	// Hide are directories below it that become empty.
	Hide []string `json:"hide,omitempty"`
}

// Options are how the process is started.
type Options struct {
	Spec
	Flags uintptr    // CLONE_NEW*
	Files []*os.File // its descriptors from 0 on
}

// Libraries are the binds that a program of the distribution needs to load.
func Libraries() []Bind {
	return []Bind{
		{Source: "/usr/lib", Dest: "/usr/lib"},
		{Source: "/lib", Dest: "/lib"},
		{Source: "/lib64", Dest: "/lib64", Optional: true},
		{Source: "/usr/lib64", Dest: "/usr/lib64", Optional: true},
	}
}

// selfExe is the program that knows `jail`.
var selfExe = "/proc/self/exe"

// Process is a helper that was started.
type Process struct {
	Pid  int
	done chan struct{}

	mu     sync.Mutex
	status unix.WaitStatus
	err    error
	reaped bool
}

// Start starts a helper. Like every child of the monitor it dies with it.
func Start(o Options) (*Process, error) {
	specR, specW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer specR.Close()
	defer specW.Close()
	raw, err := json.Marshal(&o.Spec)
	if err != nil {
		return nil, err
	}
	attr := &syscall.ProcAttr{Dir: "/", Env: []string{"GOTRACEBACK=single", "LC_ALL=C"}}
	for _, f := range o.Files {
		attr.Files = append(attr.Files, f.Fd())
	}
	attr.Files = append(attr.Files, specR.Fd())
	attr.Sys = &syscall.SysProcAttr{Cloneflags: o.Flags, Setsid: true}
	argv := []string{"bulkhead-vmm", "jail", fmt.Sprint("--spec-fd=", len(o.Files))}
	pid, err := syscall.ForkExec(selfExe, argv, attr)
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", o.Argv[0], err)
	}
	p := &Process{Pid: pid, done: make(chan struct{})}
	go p.reap()
	specR.Close()
	if _, err := specW.Write(raw); err != nil {
		p.Kill()
		return nil, fmt.Errorf("starting %s: its jail has ended: %w", o.Argv[0], err)
	}
	return p, nil
}

func (p *Process) reap() {
	defer close(p.done)
	var err error
	for {
		err = unix.Waitid(unix.P_PID, p.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		for {
			_, err = unix.Wait4(p.Pid, &p.status, 0, nil)
			if err != unix.EINTR {
				break
			}
		}
	}
	p.err, p.reaped = err, true
}

// Kill ends the process, unless it has been reaped.
func (p *Process) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		_ = unix.Kill(p.Pid, unix.SIGKILL)
	}
}

// Done is closed when the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Err says how the process has ended; nil is exit status 0. Only after Done.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch st := p.status; {
	case p.err != nil:
		return p.err
	case st.Signaled():
		return fmt.Errorf("killed by signal %d (%s)", st.Signal(), unix.SignalName(st.Signal()))
	case st.ExitStatus() != 0:
		return fmt.Errorf("exit status %d", st.ExitStatus())
	}
	return nil
}

// Wait waits for the end, at most for d.
func (p *Process) Wait(d time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(d):
		return false
	}
}

// errSpec is a jail that does not know what to do.
var errSpec = errors.New("jail: no specification")

// check refuses what would leave the jail's root.
func (s *Spec) check() error {
	if len(s.Argv) == 0 {
		return errSpec
	}
	for _, b := range s.Binds {
		if !strings.HasPrefix(b.Dest, "/") || strings.Contains(b.Dest, "/../") || strings.HasSuffix(b.Dest, "/..") {
			return fmt.Errorf("jail: %q is no place in the new root", b.Dest)
		}
	}
	return nil
}
