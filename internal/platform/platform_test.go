package platform

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var (
	shared      *Platform
	stubTrouble string
)

func TestMain(m *testing.M) {
	runtime.LockOSThread()
	stubTrouble = checkStub()
	var err error
	if shared, err = New("/proc/"); err != nil {
		println("platform:", err.Error())
		os.Exit(1)
	}
	code := m.Run()
	shared.Close()
	os.Exit(code)
}

const codeAt, stackAt = 0x10000, 0x20000

// guest starts code in a new process and gives its first event.
func guest(t *testing.T, code []byte) *Thread {
	t.Helper()
	th, err := shared.Spawn()
	if err != nil {
		t.Fatal(err)
	}
	th.Mmap(codeAt, 4096, unix.PROT_READ|unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, -1, 0)
	th.Mmap(stackAt, 65536, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, -1, 0)
	if e := th.CopyOut(codeAt, code); e != 0 {
		t.Fatal(e)
	}
	th.Start(codeAt, stackAt+65536)
	t.Cleanup(func() { th.proc.Kill(); th.Free() })
	return th
}

// loop: mov $0x123,%eax; syscall; jmp back
var loop = []byte{0xb8, 0x23, 0x01, 0, 0, 0x0f, 0x05, 0xeb, 0xf7}

func TestCall(t *testing.T) {
	th := guest(t, loop)
	k := th.Resume(0, 0)
	for i := 0; i < 3; i++ {
		if k != KindSyscall || th.Req.Nr != 0x123 || th.Req.IP != codeAt+7 {
			t.Fatalf("event %d: %+v", k, th.Req)
		}
		k = th.Resume(7, 0)
	}
	start := time.Now()
	const n = 20000
	for i := 0; i < n; i++ {
		th.Resume(0, 0)
	}
	t.Logf("a call through SIGSYS: %v", time.Since(start)/n)
}

func TestFault(t *testing.T) {
	th := guest(t, []byte{0xc6, 0x04, 0x25, 0x64, 0, 0, 0, 1}) // movb $1, 100
	if k := th.Resume(0, 0); k != KindFault || th.Req.Sig != uint32(unix.SIGSEGV) || th.Req.Addr != 100 {
		t.Fatalf("event %d: %+v", k, th.Req)
	}
}

func TestKickInGuestCode(t *testing.T) {
	th := guest(t, []byte{0xeb, 0xfe})
	go func() {
		for !th.acked.Load() {
			time.Sleep(time.Millisecond)
			th.Kick()
		}
	}()
	if k := th.Resume(0, 0); k != KindInterrupt || th.Req.IP != codeAt {
		t.Fatalf("event %d: %+v", k, th.Req)
	}
	th.acked.Store(true)
}

func TestFork(t *testing.T) {
	th := guest(t, loop)
	th.Resume(0, 0)
	child, err := th.Fork()
	if err != nil {
		t.Fatal(err)
	}
	if k := child.Resume(0, 0); k != KindSyscall {
		t.Fatal("child", k)
	}
	if k := th.Resume(5, 0); k != KindSyscall {
		t.Fatal("parent", k)
	}
	child.proc.Kill()
	if k := child.Resume(0, 0); k != KindDied {
		t.Fatal("killed child", k)
	}
	child.Free()
	start := time.Now()
	const n = 200
	for i := 0; i < n; i++ {
		c, err := th.Fork()
		if err != nil {
			t.Fatal(err)
		}
		c.Exit(0, 0)
		c.Free()
	}
	t.Logf("fork, exit: %v", time.Since(start)/n)
}

func TestThread(t *testing.T) {
	th := guest(t, loop)
	th.Resume(0, 0)
	c, err := th.Clone(CloneState{SP: stackAt + 4096, Now: true})
	if err != nil {
		t.Fatal(err)
	}
	if k := c.Resume(0, 0); k != KindSyscall || c.Req.SP != stackAt+4096 {
		t.Fatal("thread", k, c.Req)
	}
	c.Exit(0, 0)
	c.Free()
	v, err := th.Clone(CloneState{Vfork: true})
	if err != nil {
		t.Fatal(err)
	}
	if k := v.Resume(0, 0); k != KindSyscall {
		t.Fatal("vfork", k)
	}
	if v.proc == th.proc {
		t.Fatal("vfork gave no process of its own")
	}
	v.Exit(0, 0)
	v.Free()
	if k := th.Resume(0, 0); k != KindSyscall {
		t.Fatal("parent", k)
	}
}

func TestSignalFrame(t *testing.T) {
	// handler at +0x40: mov $15,%eax; syscall
	code := make([]byte, 0x50)
	copy(code, loop)
	copy(code[0x40:], []byte{0xb8, 15, 0, 0, 0, 0x0f, 0x05})
	th := guest(t, code)
	th.Resume(0, 0)
	sp := th.Req.SP
	th.Deliver(&Delivery{Handler: codeAt + 0x40, Signo: 10, Info: new([128]byte), Mask: 0xabc})
	k := th.Resume(0, ReplyKeepRax)
	// rt_sigreturn wants the return address popped: the handler here did not, so
	// its frame pointer is 8 too low, which is what Args tell.
	if k != KindSyscall || th.Req.Nr != 15 {
		t.Fatal(k, th.Req)
	}
	if sp == 0 {
		t.Fatal("no stack pointer")
	}
}

// kickers counts the goroutines that wait to kick a thread which is not there yet.
func kickers() int {
	b := make([]byte, 1<<20)
	return strings.Count(string(b[:runtime.Stack(b, true)]), "(*Thread).Kick in goroutine")
}

// TestUnbornHasOneKicker: however often a thread is kicked that its parent's next
// reply is still to clone, one goroutine waits for it; the kick arrives when it is
// there, and the goroutine ends, as it does where the thread never comes.
func TestUnbornHasOneKicker(t *testing.T) {
	th := guest(t, loop)
	th.Resume(0, 0)
	unborn := func() *Thread {
		c, err := th.Clone(CloneState{SP: stackAt + 4096})
		if err != nil {
			t.Fatal(err)
		}
		for range 200 {
			c.Kick()
		}
		if n := kickers(); n != 1 {
			t.Errorf("%d goroutines wait to kick one thread", n)
		}
		return c
	}
	gone := func() {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); kickers() != 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d goroutines still wait to kick", kickers())
			}
		}
	}
	c := unborn()
	if k := th.Resume(0, 0); k != KindSyscall {
		t.Fatal("parent", k)
	}
	k := c.Resume(0, 0)
	for end := time.Now().Add(20 * time.Second); k == KindSyscall && time.Now().Before(end); {
		if kickers() == 0 {
			c.Kick() // the first came as the thread was on its way here anyhow
		}
		k = c.Resume(0, 0)
	}
	if k != KindInterrupt {
		t.Errorf("the thread was not kicked: event %d", k)
	}
	gone()
	c.Exit(0, 0)
	c.Free()
	c = unborn()
	c.Unborn()
	if k := c.Next(); k != KindDied {
		t.Errorf("a thread that never came: event %d", k)
	}
	c.Free()
	gone()
}
