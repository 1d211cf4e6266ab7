package agent

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The runtime's own preparation of a fork, which syscall.StartProcess uses:
// signals are blocked around it, and the child gets default handlers.
//
//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// room gives n bytes, aligned to eight and zero, that live as long as the
// script: of its page, or of the heap, which does not move.
func (s *script) room(n int) ([]byte, uintptr) {
	if s.page != nil {
		if b := s.page.take(n); b != nil {
			return b, uintptr(unsafe.Pointer(unsafe.SliceData(b)))
		}
	}
	w := make([]uint64, n/8+1)
	s.alive = append(s.alive, w)
	p := unsafe.Pointer(&w[0])
	return unsafe.Slice((*byte)(p), n), uintptr(p)
}

// str gives the address of a string with its NUL.
func (s *script) str(text string) uintptr {
	b, p := s.room(len(text) + 1)
	copy(b, text)
	return p
}

// bytes gives the address of a copy.
func (s *script) bytes(from []byte) uintptr {
	b, p := s.room(len(from))
	copy(b, from)
	return p
}

// vector gives the address of argv or envp.
func (s *script) vector(list []string) uintptr {
	b, p := s.room(8 * (len(list) + 1))
	for i, text := range list {
		binary.LittleEndian.PutUint64(b[8*i:], uint64(s.str(text)))
	}
	return p
}

// words gives the address of 32-bit numbers.
func (s *script) words(w []uint32) uintptr {
	b, p := s.room(4 * len(w))
	for i, v := range w {
		binary.LittleEndian.PutUint32(b[4*i:], v)
	}
	return p
}

// filterProgram gives the address of a struct sock_fprog.
func (s *script) filterProgram(filter []byte) uintptr {
	b, p := s.room(16)
	binary.LittleEndian.PutUint16(b, uint16(len(filter)/8))
	binary.LittleEndian.PutUint64(b[8:], uint64(s.bytes(filter)))
	return p
}

// page is memory that a child shares with the agent until it executes its
// program: in it comes the rest of the child's script, where that is known only
// after the fork.
type page struct {
	mem  []byte
	used int
	full bool // something had no room
}

// rest stands at the beginning of a page.
type rest struct {
	ops unsafe.Pointer
	n   uintptr
}

// pageBytes has room for what a host says of a process (monitor.maxPrepared),
// its calls and its filter.
const pageBytes = 256 << 10

func newPage() (*page, error) {
	mem, err := unix.Mmap(-1, 0, pageBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("a script's page: %w", err)
	}
	return &page{mem: mem, used: int(unsafe.Sizeof(rest{}))}, nil
}

func (p *page) close() { _ = unix.Munmap(p.mem) }

// take gives memory of the page; nil when there is not enough.
func (p *page) take(n int) []byte {
	at := (p.used + 7) &^ 7
	if n < 0 || at+n > len(p.mem) {
		p.full = true
		return nil
	}
	p.used = at + n
	return p.mem[at : at+n : at+n]
}

// deliver puts the script, which was made in the page, where the child reads it.
func (s *script) deliver() error {
	size := int(unsafe.Sizeof(op{}))
	b := s.page.take(size * len(s.ops))
	if s.page.full {
		return fmt.Errorf("the process %w: its arguments, environment and filter are more than %d bytes", errInvalid, pageBytes)
	}
	to := unsafe.Slice((*op)(unsafe.Pointer(unsafe.SliceData(b))), len(s.ops))
	copy(to, s.ops)
	r := (*rest)(unsafe.Pointer(unsafe.SliceData(s.page.mem)))
	r.ops, r.n = unsafe.Pointer(unsafe.SliceData(to)), uintptr(len(to))
	return nil
}

// follow lets the child go on with the script that lies in the page by then.
func (s *script) follow(p *page) {
	s.next = (*rest)(unsafe.Pointer(unsafe.SliceData(p.mem)))
	s.add("going on", 0).kind = opFollow
}

func (s *script) messagePointer() uintptr { return uintptr(unsafe.Pointer(&s.checkpoint)) }
func (s *script) bytePointer() uintptr    { return uintptr(unsafe.Pointer(&s.go_)) }

// cloneArgs is struct clone_args of clone3(2), 88 bytes.
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// fork makes a child that runs the script. flags are CLONE_NEW*; cgroup is a
// descriptor or -1. Child.report and start are the agent's ends of its pipes.
func (s *script) fork(flags uint64, cgroup int, report, start *os.File) (*child, error) {
	var pidfd int32 = -1
	args := &cloneArgs{flags: flags | unix.CLONE_PIDFD, pidfd: uint64(uintptr(unsafe.Pointer(&pidfd))), exitSignal: uint64(unix.SIGCHLD)}
	if cgroup >= 0 {
		args.flags |= unix.CLONE_INTO_CGROUP
		args.cgroup = uint64(cgroup)
	}
	s.checkpoint = [2]int32{-1, 0}
	state := &scriptState{ops: unsafe.Pointer(unsafe.SliceData(s.ops)), n: uintptr(len(s.ops)), report: uintptr(s.ends[0]), next: s.next}
	syscall.ForkLock.Lock()
	pid, errno := forkScript(args, state)
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(s)
	runtime.KeepAlive(args)
	runtime.KeepAlive(state)
	if errno != 0 {
		return nil, fmt.Errorf("clone3: %w", errno)
	}
	return &child{pid: int(pid), pidfd: int(pidfd), report: report, start: start, script: s}, nil
}

// scriptState is what the child works with: memory of its own after the fork.
type scriptState struct {
	ops    unsafe.Pointer
	n      uintptr
	report uintptr
	slots  [maxSlots + 1]uintptr
	failed [2]int32
	access bool  // a candidate of execve was refused by EACCES
	next   *rest // of the script, or nil
}

// forkScript is the fork, and in the child the script. It must not grow the
// stack, allocate, or be told to stop: the child has one thread and no
// scheduler.
//
//go:noinline
//go:norace
//go:nosplit
func forkScript(args *cloneArgs, st *scriptState) (uintptr, syscall.Errno) {
	beforeFork()
	pid, _, errno := syscall.RawSyscall6(unix.SYS_CLONE3, uintptr(unsafe.Pointer(args)), unsafe.Sizeof(*args), 0, 0, 0, 0)
	if errno != 0 || pid != 0 {
		afterFork()
		return pid, errno
	}
	afterForkInChild()
	runScript(st)
	return 0, 0
}

//go:noinline
//go:norace
//go:nosplit
func runScript(st *scriptState) {
	last := syscall.Errno(0)
	for i := uintptr(0); i < st.n; i++ {
		o := (*op)(unsafe.Add(st.ops, i*unsafe.Sizeof(op{})))
		if o.kind == opError {
			if st.access {
				last = syscall.EACCES
			}
			failScript(st, i, last)
		}
		if o.kind == opFollow {
			st.ops, st.n = st.next.ops, st.next.n
			i = ^uintptr(0) // the next is the first
			continue
		}
		if o.use != 0 {
			o.args[o.arg] = st.slots[o.use]
		}
		r, _, errno := syscall.RawSyscall6(o.nr, o.args[0], o.args[1], o.args[2], o.args[3], o.args[4], o.args[5])
		if errno == 0 && o.kind == opByte && r != 1 {
			errno = syscall.ECANCELED
		}
		if errno == 0 {
			if o.keep != 0 {
				st.slots[o.keep] = r
			}
			if o.kind == opMoved {
				st.report = r
			}
			continue
		}
		switch o.kind {
		case opMay:
		case opExec:
			last = errno
			switch errno {
			case syscall.EACCES:
				st.access = true
			case syscall.ENOENT, syscall.ENOTDIR:
			default:
				// As execvp(3): this candidate was the one, and is no good.
				st.access = false
				for i+1 < st.n && (*op)(unsafe.Add(st.ops, (i+1)*unsafe.Sizeof(op{}))).kind == opExec {
					i++
				}
			}
		default:
			failScript(st, i, errno)
		}
	}
	failScript(st, st.n-1, last)
}

//go:noinline
//go:norace
//go:nosplit
func failScript(st *scriptState, index uintptr, errno syscall.Errno) {
	st.failed[0], st.failed[1] = int32(index), int32(errno)
	syscall.RawSyscall(unix.SYS_WRITE, st.report, uintptr(unsafe.Pointer(&st.failed)), 8)
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 127, 0, 0)
	}
}

// capData is struct __user_cap_data_struct[2] of capset(2).
func (s *script) capData(effective, permitted, inheritable uint64) uintptr {
	return s.words([]uint32{
		uint32(effective), uint32(permitted), uint32(inheritable),
		uint32(effective >> 32), uint32(permitted >> 32), uint32(inheritable >> 32),
	})
}

// reseed is RNDADDENTROPY with struct rand_pool_info, then RNDRESEEDCRNG.
func reseed(random []byte) error {
	fd, err := unix.Open("/dev/urandom", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("random pool: %w", err)
	}
	defer unix.Close(fd)
	info := make([]byte, 8, 8+len(random))
	*(*int32)(unsafe.Pointer(&info[0])) = int32(len(random) * 8)
	*(*int32)(unsafe.Pointer(&info[4])) = int32(len(random))
	info = append(info, random...)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.RNDADDENTROPY, uintptr(unsafe.Pointer(&info[0]))); errno != 0 {
		return fmt.Errorf("RNDADDENTROPY: %w", errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.RNDRESEEDCRNG, 0); errno != 0 {
		return fmt.Errorf("RNDRESEEDCRNG: %w", errno)
	}
	return nil
}

// verify is BPF_PROG_LOAD. The kernel's verifier gives up with EAGAIN when a
// signal is pending, and the Go runtime preempts with SIGURG a thread that
// is as long in one call as the verifier is in a slow VM: so this thread has
// its signals blocked meanwhile, and another signal costs another try.
func verify(attr unsafe.Pointer, size uintptr) (prog uintptr, errno unix.Errno) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var all, old unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	if err := unix.PthreadSigmask(unix.SIG_SETMASK, &all, &old); err == nil {
		defer unix.PthreadSigmask(unix.SIG_SETMASK, &old, nil)
	}
	for range 30 {
		prog, _, errno = unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(attr), size)
		if errno != unix.EAGAIN {
			break
		}
	}
	return prog, errno
}

// loadDeviceProgram loads an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE
// and attaches it to a cgroup, replacing the one before.
func loadDeviceProgram(code []byte, cgroup, replace int) (int, error) {
	license := []byte("Apache-2.0\x00")
	log := make([]byte, 4096)
	attr := struct {
		progType, insnCnt uint32
		insns, license    uint64
		logLevel, logSize uint32
		logBuf            uint64
		kernVersion       uint32
		progFlags         uint32
		_                 [80]byte
	}{
		progType: unix.BPF_PROG_TYPE_CGROUP_DEVICE, insnCnt: uint32(len(code) / 8),
		insns: uint64(uintptr(unsafe.Pointer(&code[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	prog, errno := verify(unsafe.Pointer(&attr), unsafe.Sizeof(attr))
	if errno != 0 {
		attr.logLevel, attr.logSize, attr.logBuf = 1, uint32(len(log)), uint64(uintptr(unsafe.Pointer(&log[0])))
		verify(unsafe.Pointer(&attr), unsafe.Sizeof(attr))
		return -1, fmt.Errorf("device rules: BPF_PROG_LOAD: %w: %s", errno, unix.ByteSliceToString(log))
	}
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	attach := struct{ targetFD, progFD, attachType, flags, replaceFD uint32 }{
		targetFD: uint32(cgroup), progFD: uint32(prog), attachType: unix.BPF_CGROUP_DEVICE, flags: unix.BPF_F_ALLOW_MULTI,
	}
	if replace >= 0 {
		attach.flags |= unix.BPF_F_REPLACE
		attach.replaceFD = uint32(replace)
	}
	if _, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_ATTACH, uintptr(unsafe.Pointer(&attach)), unsafe.Sizeof(attach)); errno != 0 {
		unix.Close(int(prog))
		return -1, fmt.Errorf("device rules: BPF_PROG_ATTACH: %w", errno)
	}
	return int(prog), nil
}

// setScheduler is sched_setattr(2) of another process, with struct sched_attr.
func setScheduler(pid int, policy uint32, flags uint64, nice int32, priority uint32, runtimeNS, deadline, period uint64) error {
	attr := struct {
		size, policy              uint32
		flags                     uint64
		nice                      int32
		priority                  uint32
		runtime, deadline, period uint64
	}{48, policy, flags, nice, priority, runtimeNS, deadline, period}
	if _, _, errno := unix.Syscall(unix.SYS_SCHED_SETATTR, uintptr(pid), uintptr(unsafe.Pointer(&attr)), 0); errno != 0 {
		return errno
	}
	return nil
}
