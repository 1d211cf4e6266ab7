package kernel

import (
	"bytes"
	"strings"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/auth"
	"bulkhead.dev/bulkhead/internal/sentry/mm"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// ExecArgs say what to run.
type ExecArgs struct {
	At         vfs.At
	Path       string // as the caller gave it
	How        vfs.Lookup
	Argv, Envv []string
	// FDPath is what a script's interpreter gets for a program that was opened
	// by descriptor alone (execveat with AT_EMPTY_PATH): /dev/fd/N.
	FDPath string
	// FDCloses: that descriptor is closed by the exec, so that an interpreter
	// could not open the path (ENOENT).
	FDCloses bool
}

const (
	maxArgStrings = 0x7FFFFFFF
	maxArgLen     = 128 << 10 // MAX_ARG_STRLEN
	maxScripts    = 4
	scriptHead    = 256 // BINPRM_BUF_SIZE
)

// program is what has been found for an exec.
type program struct {
	file   *vfs.FileDescription
	path   string // AT_EXECFN
	argv   []string
	head   []byte
	setid  bool
	exe    string
	access bool // the caller may read it
}

// Exec is execve(2) up to the point where the new program is ready: the call's
// result is then EnterProgram.
func (t *Task) Exec(a *ExecArgs) abi.Errno {
	if t.OverProcessLimit() {
		return unix.EAGAIN
	}
	if e := t.checkArgSize(a); e != 0 {
		return e
	}
	p, e := t.findProgram(a)
	if e != 0 {
		return e
	}
	defer p.file.DecRef()
	l, e := t.load(p, a.Envv)
	if e != 0 {
		return e
	}
	defer l.close()
	if e := t.PrepareExec(); e != 0 {
		l.abandon()
		return e
	}
	if l.stays {
		l.th.Empty(uint32(t.tid))
		if e := t.fill(l, p, a.Envv); e != 0 {
			// Too late to go back: as in execve(2), the process is killed.
			l.mm.DecUsers()
			t.GroupExit(SIGKILL)
			return e
		}
	}
	t.becomeProgram(p, l)
	return EnterProgram
}

// checkArgSize holds arguments and environment to a quarter of RLIMIT_STACK
// (execve(2), "Limits on size of arguments and environment").
func (t *Task) checkArgSize(a *ExecArgs) abi.Errno {
	limit := min(t.tg.LimitCur(RLIMIT_STACK)/4, 6<<20)
	limit = max(limit, 128<<10)
	n := uint64(len(a.Path)) + 1
	for _, l := range [][]string{a.Argv, a.Envv} {
		for _, s := range l {
			if len(s) >= maxArgLen {
				return unix.E2BIG
			}
			n += uint64(len(s)) + 1 + 8
		}
	}
	if n > limit {
		return unix.E2BIG
	}
	return 0
}

// findProgram opens the program, and the interpreters of scripts.
func (t *Task) findProgram(a *ExecArgs) (*program, abi.Errno) {
	p := &program{path: strings.Clone(a.Path), argv: a.Argv}
	if a.FDPath != "" {
		p.path = a.FDPath
	}
	at, path, how := a.At, a.Path, a.How
	for depth := 0; ; depth++ {
		f, e := vfs.OpenExec(t, at, path, how)
		if e != 0 {
			return nil, e
		}
		head := make([]byte, scriptHead)
		n, e := f.Pread(t, head, 0)
		if e != 0 {
			f.DecRef()
			return nil, e
		}
		p.head = head[:n]
		if n < 2 || head[0] != '#' || head[1] != '!' {
			p.file = f
			p.exe, _ = vfs.PathName(t.fs.Root(), f.Path)
			p.access = vfs.CheckPerm(t.Creds(), f.Inode().Perm(), vfs.MayRead) == 0
			return p, 0
		}
		f.DecRef()
		if depth == maxScripts {
			return nil, unix.ELOOP
		}
		if depth == 0 && a.FDCloses {
			return nil, unix.ENOENT
		}
		interp, arg, e := parseScript(p.head)
		if e != 0 {
			return nil, e
		}
		argv := []string{interp}
		if arg != "" {
			argv = append(argv, arg)
		}
		argv = append(argv, p.path)
		if len(p.argv) > 0 {
			argv = append(argv, p.argv[1:]...)
		}
		p.argv, p.path = argv, interp
		at, path, how = vfs.At{FS: t.fs}, interp, vfs.LookupFollow
	}
}

// parseScript reads "#! interpreter [argument]" (execve(2), "Interpreter
// scripts").
func parseScript(head []byte) (interp, arg string, e abi.Errno) {
	line := head[2:]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	} else if len(head) == scriptHead {
		// The line is cut: the interpreter's name must have ended.
		rest := bytes.TrimLeft(line, " \t")
		if !bytes.ContainsAny(rest, " \t\x00") {
			return "", "", unix.ENOEXEC
		}
	}
	if i := bytes.IndexByte(line, 0); i >= 0 {
		line = line[:i]
	}
	s := strings.Trim(string(line), " \t")
	if s == "" {
		return "", "", unix.ENOEXEC
	}
	if i := strings.IndexAny(s, " \t"); i >= 0 {
		return s[:i], strings.TrimLeft(s[i:], " \t"), 0
	}
	return s, "", 0
}

// execCreds finds the credentials of the new program.
func (t *Task) execCreds(p *program) (*auth.Creds, bool, abi.Errno) {
	old := t.Creds()
	perm := p.file.Inode().Perm()
	f := auth.ExecFile{Mode: perm.Mode, UID: perm.UID, GID: perm.GID, SharedFS: t.fs.Users() > t.tasksWithFS()}
	f.NoSUID = p.file.Path.Mount.Flags()&unix.MS_NOSUID != 0
	if !f.NoSUID && perm.Mode&unix.S_IFMT == unix.S_IFREG {
		if c, e := p.file.Inode().GetXattr(t, "security.capability"); e == 0 {
			f.Caps = c
		}
	}
	return auth.ExecCreds(old, &f)
}

// tasksWithFS counts the threads of the own process: they are gone after exec.
func (t *Task) tasksWithFS() int32 {
	t.k.mu.RLock()
	defer t.k.mu.RUnlock()
	return int32(len(t.tg.tasks))
}

// becomeProgram swaps the task's memory and host process for the loaded ones.
func (t *Task) becomeProgram(p *program, l *loaded) {
	old := t.plat.th.Load()
	t.plat.user.Store(false)
	cpu := -1
	if old != nil {
		cpu = old.CPU()
		t.endLoan()
		t.keepMask(old)
	}
	if l.stays {
		t.mm.RemoveProcess(old.Process())
		t.plat.clearTID = 0
	} else {
		if old != nil {
			t.acctExec()
			t.leaveHost(old)
		}
		t.allow(l.th)
		l.th.Begin(cpu, t.seat)
		t.plat.th.Store(l.th)
	}
	t.plat.vforker.end()
	t.plat.vforker = nil
	t.setMM(l.mm)
	if t.fds.Users() > 1 {
		fds := t.fds.Fork()
		t.fds.DecRef(t)
		t.mu.Lock()
		t.fds = fds
		t.mu.Unlock()
	}
	t.fds.CloseOnExec(t)
	t.ExecCreds(l.creds, l.secure, p.access)
	t.personality, t.dispatch = t.execPersonality(l.secure), nil
	t.SetName(comm(l.name))
	t.tg.SetInfo(l.info)
	t.plat.ids = nil
}

// comm gives the last part of a path.
func comm(path string) string {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[i+1:]
	}
	return path
}

// enterProgram starts the program that exec has loaded.
func (t *Task) enterProgram() platform.Kind {
	th := t.plat.th.Load()
	t.updateIds(th)
	t.plat.kind = platform.KindSyscall
	t.plat.user.Store(true)
	if t.interrupted() {
		th.Kick() // the first stop of the program is before its first instruction
	}
	return th.Resume(0, platform.ReplyKeepRax)
}

// loaded is a program in a host process: a new one, or the caller's own (stays),
// which is emptied and filled once there is no return.
type loaded struct {
	th     *platform.Thread
	stays  bool
	im     *image
	interp *image // or nil
	mm     *mm.MemoryManager
	creds  *auth.Creds
	secure bool
	info   ExecInfo
	name   string
}

// abandon takes the load back.
func (l *loaded) abandon() {
	if l.stays {
		l.mm.DecUsers()
		return
	}
	l.th.Process().Kill()
	l.mm.Forget(l.th)
	l.th.Free()
	l.mm.RemoveProcess(l.th.Process())
	l.mm.DecUsers()
}

func (l *loaded) close() {
	if l.interp != nil {
		l.interp.file.DecRef()
	}
}
