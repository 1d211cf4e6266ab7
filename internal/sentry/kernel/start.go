package kernel

import (
	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// StartProgram gives a task of NewProcess its files and runs a program in it.
// told is called with exec's errno, 0 when the program is loaded, before its
// first instruction; if it fails, the task is discarded.
func (t *Task) StartProgram(fds *vfs.FDTable, fs *vfs.FSContext, a *ExecArgs, told func(abi.Errno)) {
	t.fds, t.fs = fds, fs
	t.Start(func(t *Task) platform.Kind {
		e := t.execFirst(a)
		told(e)
		if e != 0 {
			fds.DecRef(t)
			fs.DecRef()
			t.Discard()
			return kindExited
		}
		return t.enterProgram()
	})
}

// execFirst is Exec for a task without a program.
func (t *Task) execFirst(a *ExecArgs) abi.Errno {
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
	t.becomeProgram(p, l)
	return 0
}
