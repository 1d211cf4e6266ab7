package kernel

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/sentry/ktime"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
	"bulkhead.dev/bulkhead/internal/sentry/waiter"
)

// LogSize is the size of the kernel's log (CONFIG_LOG_BUF_SHIFT 17).
const LogSize = 1 << 17

// Log is the kernel's log, as syslog(2) and dmesg(1) show it: what ended
// processes by a fault, and the like.
type Log struct {
	Queue waiter.Queue

	mu    sync.Mutex
	text  []byte // whole lines, at most LogSize
	read  int    // SYSLOG_ACTION_READ has come this far in text
	clear int    // SYSLOG_ACTION_READ_ALL begins here
	copy  io.Writer
}

// Log gives the kernel's log.
func (k *Kernel) Log() *Log { return &k.log }

// CopyLog has every line of the log written to w too.
func (k *Kernel) CopyLog(w io.Writer) { k.log.copy = w }

// printk adds a line to the log, at a level as in syslog(2).
func (k *Kernel) printk(level int, format string, a ...any) {
	ns := ktime.Mono() - k.bootMono
	line := fmt.Appendf(nil, "<%d>[%5d.%06d] ", level, ns/1e9, ns%1e9/1000)
	line = append(fmt.Appendf(line, format, a...), '\n')
	k.log.add(line)
}

func (l *Log) add(line []byte) {
	l.mu.Lock()
	for len(l.text)+len(line) > LogSize {
		n := bytes.IndexByte(l.text, '\n') + 1
		l.text = append(l.text[:0], l.text[n:]...)
		l.read, l.clear = max(l.read-n, 0), max(l.clear-n, 0)
	}
	l.text = append(l.text, line...)
	if l.copy != nil {
		l.copy.Write(line)
	}
	l.mu.Unlock()
	l.Queue.Notify(waiter.In | waiter.RdNorm)
}

// Read takes up to n bytes that were not read yet (SYSLOG_ACTION_READ).
func (l *Log) Read(n int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := bytes.Clone(l.text[l.read:min(l.read+n, len(l.text))])
	l.read += len(b)
	return b
}

// Unread counts what Read has not given yet.
func (l *Log) Unread() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.text) - l.read
}

// Last gives the last whole lines of at most n bytes since the log was cleared
// (SYSLOG_ACTION_READ_ALL).
func (l *Log) Last(n int) []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.text[l.clear:]
	for len(b) > n {
		i := bytes.IndexByte(b, '\n') + 1
		b = b[i:]
	}
	return bytes.Clone(b)
}

// Clear has Last begin behind what there is (SYSLOG_ACTION_CLEAR).
func (l *Log) Clear() {
	l.mu.Lock()
	l.clear = len(l.text)
	l.mu.Unlock()
}

// logFault notes a fault that no handler takes, in the words of Linux's
// show_signal_msg (arch/x86/mm/fault.c).
func (t *Task) logFault(sig int32, addr, ip, sp, err uint64) {
	h := t.tg.sig.handlers
	if h.handler(sig) > SIG_IGN && !t.sig.blocked.Has(sig) {
		return
	}
	what := fmt.Sprintf("segfault at %x", addr)
	if sig != SIGSEGV {
		what = fmt.Sprintf("signal %d at %x", sig, addr)
	}
	in := ""
	if v, ok := t.mm.At(ip); ok && v.File != nil {
		if name, _ := vfs.PathName(t.fs.Root(), v.File.Path); name != "" {
			in = fmt.Sprintf(" in %s[%x,%x+%x]", comm(name), ip-v.Start+uint64(v.Off), v.Start, v.End-v.Start)
		}
	}
	t.k.printk(6, "%s[%d]: %s ip %x sp %x error %x%s", t.Name(), t.tg.pid, what, ip, sp, err, in)
}

// SyslogWait waits until there is something to Read.
func (t *Task) SyslogWait() abi.Errno {
	l := t.k.Log()
	e := waiter.Entry{Listener: t}
	l.Queue.Register(&e, waiter.In)
	defer l.Queue.Unregister(&e)
	for l.Unread() == 0 {
		if err := t.Block(0); err != 0 {
			return err
		}
	}
	return 0
}
