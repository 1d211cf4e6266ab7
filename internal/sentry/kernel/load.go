package kernel

import (
	"crypto/rand"
	"encoding/binary"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/abi"
	"bulkhead.dev/bulkhead/internal/platform"
	"bulkhead.dev/bulkhead/internal/sentry/mm"
	"bulkhead.dev/bulkhead/internal/sentry/vfs"
)

// load puts a program into a fresh host process: segments, interpreter, stack;
// or prepares it for the own one. Nothing of the calling task has changed when
// it fails.
func (t *Task) load(p *program, envv []string) (*loaded, abi.Errno) {
	l := &loaded{name: p.path}
	e := t.parse(p, l)
	if e == 0 && !l.stays {
		if e = t.spawn(l); e == 0 {
			if e = t.fill(l, p, envv); e != 0 {
				l.abandon()
			}
		}
	}
	if e != 0 {
		l.close()
		return nil, e
	}
	return l, 0
}

// parse reads the headers of program and interpreter, and decides where to put
// them.
func (t *Task) parse(p *program, l *loaded) (e abi.Errno) {
	if l.im, e = readELF(t, p.file, p.head); e != 0 {
		return e
	}
	if l.im.interp != "" {
		if l.interp, e = t.openInterp(l.im.interp); e != 0 {
			return e
		}
	}
	if l.creds, l.secure, e = t.execCreds(p); e != 0 {
		return e
	}
	l.mm = mm.New(t.execPersonality(l.secure)&ADDR_NO_RANDOMIZE != 0)
	l.mm.InheritMDWE(t.mm)
	if t.mayStay(p, l) {
		l.th, l.stays = t.plat.th.Load(), true
		l.mm.AddProcess(l.th.Process())
	}
	return 0
}

// mayStay: the own host process, emptied, is cheaper than a new one. It must be
// nobody else's; and since the old program may have tampered with the stub's
// memory in it, the new one must have no right that the old one had not.
func (t *Task) mayStay(p *program, l *loaded) bool {
	th := t.plat.th.Load()
	return th != nil && t.plat.kind == platform.KindSyscall && t.mm.Users() == 1 && t.plat.vforker == nil &&
		!l.secure && l.creds.Permitted&^t.Creds().Permitted == 0 && p.access && !th.Process().Dead()
}

func (t *Task) spawn(l *loaded) abi.Errno {
	th, err := t.k.platform.Spawn()
	if err != nil {
		l.mm.DecUsers()
		return asErrno(err)
	}
	l.th = th
	l.mm.AddProcess(th.Process())
	return 0
}

func (t *Task) openInterp(path string) (*image, abi.Errno) {
	f, e := vfs.OpenExec(t, vfs.At{FS: t.fs}, path, vfs.LookupFollow)
	if e != 0 {
		return nil, e
	}
	head := make([]byte, 1024)
	n, e := f.Pread(t, head, 0)
	if e == 0 {
		var im *image
		if im, e = readELF(t, f, head[:n]); e == 0 {
			return im, 0
		}
	}
	f.DecRef()
	if e == unix.ENOEXEC {
		e = unix.ELIBBAD
	}
	return nil, e
}

// fill maps everything and builds the first stack.
func (t *Task) fill(l *loaded, p *program, envv []string) abi.Errno {
	th, m, im, interp := l.th, l.mm, l.im, l.interp
	bias := uint64(0)
	if im.typ == etDyn {
		align := im.align()
		if interp != nil {
			bias = m.PIEBase(im.hi-im.lo, align) - im.lo
		} else {
			at, e := m.Find(im.hi-im.lo, align) // a loader run as a program
			if e != 0 {
				return e
			}
			bias = at - im.lo
		}
	}
	brk, e := mapImage(t, m, th, im, bias)
	if e != 0 {
		return e
	}
	entry, base := im.entry+bias, uint64(0)
	if interp != nil {
		at, e := m.Find(interp.hi-interp.lo, interp.align())
		if e != 0 {
			return e
		}
		base = at - interp.lo
		if _, e := mapImage(t, m, th, interp, base); e != 0 {
			return e
		}
		entry = interp.entry + base
	}
	m.SetBrk(m.BrkAfter(brk))
	if v := t.k.platform.VDSO(); v != 0 {
		l.info.Auxv = append(l.info.Auxv, abi.AT_SYSINFO_EHDR, v)
	}
	sp, e := t.buildStack(l, p, im, bias, base, envv)
	if e != 0 {
		return e
	}
	th.Start(entry, sp)
	return 0
}

func (im *image) align() uint64 {
	a := uint64(mm.PageSize)
	for _, p := range im.phdrs {
		if p.typ == ptLoad && p.align&(p.align-1) == 0 && p.align > a && p.align <= 1<<30 {
			a = p.align
		}
	}
	return a
}

// phdrAddr is AT_PHDR: where the program headers lie in memory.
func (im *image) phdrAddr(bias uint64) uint64 {
	for _, p := range im.phdrs {
		if p.typ == ptLoad && im.phoff >= p.off && im.phoff < p.off+p.filesz {
			return im.phoff - p.off + p.vaddr + bias
		}
	}
	return 0
}

// buildStack maps the stack and fills its top, as the x86-64 psABI lays it out.
func (t *Task) buildStack(l *loaded, p *program, im *image, bias, base uint64, envv []string) (uint64, abi.Errno) {
	size := min(max(t.tg.LimitCur(RLIMIT_STACK), 128<<10), 1<<30)
	if t.tg.LimitCur(RLIMIT_STACK) == RLIM_INFINITY {
		size = 8 << 20
	}
	prot := uint32(unix.PROT_READ | unix.PROT_WRITE)
	if im.execStk {
		prot |= unix.PROT_EXEC
	}
	top, e := l.mm.PlaceStack(t, l.th, size, prot)
	if e != 0 {
		return 0, e
	}
	b := &stackBuilder{top: top, sp: top}
	b.push64(0)
	execfn := b.pushString(p.path)
	l.info.Exe = p.exe
	l.info.EnvHi = execfn
	env := b.pushStrings(envv)
	l.info.EnvLo = b.sp
	l.info.ArgsHi = b.sp
	args := b.pushStrings(p.argv)
	l.info.ArgsLo = b.sp
	platformStr := b.pushString("x86_64")
	var random [16]byte
	rand.Read(random[:])
	rnd := b.pushBytes(random[:])
	b.align(16)
	c := l.creds
	secure := uint64(0)
	if l.secure {
		secure = 1
	}
	aux := append(l.info.Auxv,
		abi.AT_HWCAP, t.k.hwcap, abi.AT_PAGESZ, mm.PageSize, abi.AT_CLKTCK, 100,
		abi.AT_PHDR, im.phdrAddr(bias), abi.AT_PHENT, phdrSize, abi.AT_PHNUM, uint64(im.phnum),
		abi.AT_BASE, base, abi.AT_FLAGS, 0, abi.AT_ENTRY, im.entry+bias,
		abi.AT_UID, uint64(c.UID), abi.AT_EUID, uint64(c.EUID), abi.AT_GID, uint64(c.GID), abi.AT_EGID, uint64(c.EGID),
		abi.AT_SECURE, secure, abi.AT_RANDOM, rnd, abi.AT_HWCAP2, 0,
		abi.AT_EXECFN, execfn, abi.AT_PLATFORM, platformStr)
	if t.k.minSigStack != 0 {
		aux = append(aux, abi.AT_MINSIGSTKSZ, t.k.minSigStack)
	}
	aux = append(append(aux, t.k.rseqAuxv...), abi.AT_NULL, 0)
	l.info.Auxv = aux
	words := make([]uint64, 0, 1+len(args)+1+len(env)+1+len(aux))
	words = append(words, uint64(len(args)))
	words = append(append(words, args...), 0)
	words = append(append(words, env...), 0)
	words = append(words, aux...)
	b.alignFor(len(words))
	for i := len(words) - 1; i >= 0; i-- {
		b.push64(words[i])
	}
	l.info.StartSP = b.sp
	return b.sp, l.copyStack(b)
}

// copyStack puts the built part of the stack into the new process.
func (l *loaded) copyStack(b *stackBuilder) abi.Errno {
	data := b.bytes()
	if out := l.th.Out(len(data)); out != nil {
		copy(out, data)
		return l.th.CopyOut(b.sp, out)
	}
	if k := l.th.Do(); k != platform.KindDone {
		return unix.ENOMEM
	}
	_, e := l.th.Process().WriteMemory(b.sp, data)
	return e
}

// stackBuilder fills memory from the top down.
type stackBuilder struct {
	top, sp uint64
	rev     []byte // the bytes, last address first
}

func (b *stackBuilder) pushBytes(p []byte) uint64 {
	for i := len(p) - 1; i >= 0; i-- {
		b.rev = append(b.rev, p[i])
	}
	b.sp -= uint64(len(p))
	return b.sp
}

func (b *stackBuilder) pushString(s string) uint64 {
	b.rev = append(b.rev, 0)
	for i := len(s) - 1; i >= 0; i-- {
		b.rev = append(b.rev, s[i])
	}
	b.sp -= uint64(len(s)) + 1
	return b.sp
}

// pushStrings puts the list so that it rises in memory, and gives addresses.
func (b *stackBuilder) pushStrings(l []string) []uint64 {
	out := make([]uint64, len(l))
	for i := len(l) - 1; i >= 0; i-- {
		out[i] = b.pushString(l[i])
	}
	return out
}

func (b *stackBuilder) push64(v uint64) {
	var w [8]byte
	binary.LittleEndian.PutUint64(w[:], v)
	b.pushBytes(w[:])
}

func (b *stackBuilder) align(n uint64) {
	for b.sp%n != 0 {
		b.rev = append(b.rev, 0)
		b.sp--
	}
}

// alignFor makes sp a multiple of 16 once n words are pushed.
func (b *stackBuilder) alignFor(n int) {
	b.align(16)
	if n%2 != 0 {
		b.push64(0)
	}
}

func (b *stackBuilder) bytes() []byte {
	out := make([]byte, len(b.rev))
	for i, x := range b.rev {
		out[len(out)-1-i] = x
	}
	return out
}
