package wire

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// fakeHandler answers with fixed values and keeps what it was asked.
type fakeHandler struct {
	exec   ExecArgs
	fds    []int
	signal SignalArgs
	wait   chan struct{}
}

func (h *fakeHandler) Start(StartArgs, []int) error { return nil }
func (h *fakeHandler) Exec(a ExecArgs, fds []int) (ExecResult, error) {
	h.exec, h.fds = a, fds
	return ExecResult{ExecID: "e1", Pid: 7}, nil
}
func (h *fakeHandler) Signal(a SignalArgs) error {
	h.signal = a
	return unix.ESRCH
}
func (h *fakeHandler) Wait(WaitArgs) (WaitResult, error) {
	<-h.wait
	return WaitResult{Status: 3 << 8}, nil
}
func (h *fakeHandler) Processes() ([]ProcessInfo, error) { return []ProcessInfo{{Pid: 1}}, nil }
func (h *fakeHandler) Pause() error                      { return nil }
func (h *fakeHandler) Resume() error                     { return errors.New("not paused") }
func (h *fakeHandler) Stats() (StatsResult, error)       { return StatsResult{Pids: 2}, nil }
func (h *fakeHandler) Resize(ResizeArgs) error           { return nil }
func (h *fakeHandler) Update(Limits) error               { return nil }
func (h *fakeHandler) Shutdown() error                   { return nil }

func listen(t *testing.T) (path string, fd int) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "control.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 8); err != nil {
		t.Fatal(err)
	}
	return path, fd
}

func TestControlCalls(t *testing.T) {
	h := &fakeHandler{wait: make(chan struct{})}
	path, lfd := listen(t)
	done := make(chan error, 1)
	go func() { done <- ServeControl(lfd, h) }()
	defer func() {
		unix.Shutdown(lfd, unix.SHUT_RDWR)
		<-done
		unix.Close(lfd)
	}()

	waiter, err := DialControl(path)
	if err != nil {
		t.Fatal(err)
	}
	defer waiter.Close()
	waited := make(chan WaitResult, 1)
	go func() {
		var res WaitResult
		if err := waiter.Call(MethodWait, WaitArgs{}, nil, &res); err != nil {
			t.Error(err)
		}
		waited <- res
	}()

	c, err := DialControl(path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var res ExecResult
	args := ExecArgs{Process: Process{Args: []string{"true"}, Cwd: "/"}}
	if err := c.Call(MethodExec, args, []int{int(w.Fd())}, &res); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if res.ExecID != "e1" || res.Pid != 7 || h.exec.Process.Args[0] != "true" || len(h.fds) != 1 {
		t.Fatalf("Exec: %+v, handler saw %+v with %d descriptors", res, h.exec, len(h.fds))
	}
	if _, err := unix.Write(h.fds[0], []byte("x")); err != nil {
		t.Fatal(err)
	}
	closeAll(h.fds)
	if b, err := io.ReadAll(r); err != nil || string(b) != "x" {
		t.Fatalf("through the passed descriptor: %q, %v", b, err)
	}

	var ce *ControlError
	if err := c.Call(MethodSignal, SignalArgs{Signal: 15}, nil, nil); !errors.As(err, &ce) || ce.Errno != int(unix.ESRCH) {
		t.Fatalf("Signal: %v", err)
	}
	if err := c.Call(MethodResume, nil, nil, nil); !errors.As(err, &ce) || ce.Message != "not paused" {
		t.Fatalf("Resume: %v", err)
	}
	if err := c.Call("Nonsense", nil, nil, nil); !errors.As(err, &ce) || ce.Errno != int(unix.ENOSYS) {
		t.Fatalf("unknown method: %v", err)
	}
	var ps []ProcessInfo
	if err := c.Call(MethodProcesses, nil, nil, &ps); err != nil || len(ps) != 1 {
		t.Fatalf("Processes: %v, %v", ps, err)
	}
	close(h.wait)
	if res := <-waited; res.Status != 3<<8 {
		t.Fatalf("Wait: %+v", res)
	}
}

func socketpair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	return fds[0], fds[1]
}

func TestControlSocketPair(t *testing.T) {
	a, b := socketpair(t)
	done := make(chan error, 1)
	go func() { done <- ServeControl(b, &fakeHandler{}) }()
	c := NewControlClient(a)
	if err := c.Call(MethodPause, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-done; err != io.EOF {
		t.Fatalf("server ended with %v, want EOF", err)
	}
}

// TestControlHostile sends what the protocol forbids: the server ends the
// connection or says EINVAL, and keeps no descriptor.
func TestControlHostile(t *testing.T) {
	long := make([]byte, 4)
	binary.LittleEndian.PutUint32(long, MaxControlFrame+1)
	for name, raw := range map[string][]byte{
		"too long":  long,
		"cut short": {9, 0, 0, 0, '{'},
		"head only": {1},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := socketpair(t)
			done := make(chan error, 1)
			go func() { done <- ServeControl(b, &fakeHandler{}) }()
			unix.Write(a, raw)
			unix.Shutdown(a, unix.SHUT_WR)
			if err := <-done; err == nil || err == io.EOF {
				t.Fatalf("server ended with %v, want an error", err)
			}
			unix.Close(a)
		})
	}
	a, b := socketpair(t)
	go ServeControl(b, &fakeHandler{})
	defer unix.Close(a)
	for _, body := range []string{"", "null", "[]", `{"method":3}`, `{"method":"Signal","args":[]}`, "\xff"} {
		if err := writeFrame(a, []byte(body), nil); err != nil {
			t.Fatal(err)
		}
		answer, _, err := readFrame(a)
		if err != nil || !strings.Contains(string(answer), `"error"`) {
			t.Fatalf("%q: answer %q, %v", body, answer, err)
		}
	}
}

func TestControlClosesStrayDescriptors(t *testing.T) {
	a, b := socketpair(t)
	go ServeControl(b, &fakeHandler{})
	c := NewControlClient(a)
	defer c.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := c.Call(MethodPause, nil, []int{int(w.Fd())}, nil); err != nil {
		t.Fatal(err)
	}
	w.Close()
	if b, err := io.ReadAll(r); err != nil || len(b) != 0 {
		t.Fatalf("the server kept a descriptor: %q, %v", b, err)
	}
}

func TestReadyAndConfig(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fd, _ := unix.Dup(int(w.Fd()))
	w.Close()
	if err := WriteReady(fd, unix.ENOENT); err != nil {
		t.Fatal(err)
	}
	raw, _ := io.ReadAll(r)
	if want := `"errno":2`; !strings.Contains(string(raw), want) {
		t.Fatalf("ready message %q lacks %s", raw, want)
	}
	r.Close()

	r, w, _ = os.Pipe()
	w.WriteString(`{"id":"c1","limits":{"pids":5}}`)
	w.Close()
	fd, _ = unix.Dup(int(r.Fd()))
	r.Close()
	var cfg SentryConfig
	if err := ReadConfig(fd, &cfg); err != nil || cfg.ID != "c1" || cfg.Limits.Pids != 5 {
		t.Fatalf("%+v, %v", cfg, err)
	}
}

func FuzzControlDispatch(f *testing.F) {
	f.Add([]byte(`{"method":"Exec","args":{"process":{"args":["a"],"cwd":"/"}}}`))
	f.Add([]byte(`{"method":"Update","args":{"pids":-1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		h := &fakeHandler{wait: make(chan struct{})}
		close(h.wait)
		result, err := dispatchBody(h, body)
		if _, err := marshalReply(result, err); err != nil {
			t.Fatal(err)
		}
	})
}

// dispatchBody handles one request as a connection does.
func dispatchBody(h ControlHandler, body []byte) (any, error) {
	s := session{h: h}
	result, _, err := s.dispatch(body, nil)
	return result, err
}

// podHandler is a fakeHandler that takes further containers.
type podHandler struct {
	fakeHandler
	place  [PlaceFDs]int
	member fakeHandler
	joined JoinArgs
	gone   chan string
}

func (h *podHandler) Place() ([]int, error) { return h.place[:], nil }
func (h *podHandler) Join(a JoinArgs, fds []int) error {
	closeAll(fds)
	if h.joined = a; a.Name == "" {
		return unix.EINVAL
	}
	return nil
}
func (h *podHandler) Member(name string) (ControlHandler, error) {
	if name != h.joined.Name {
		return nil, unix.ESRCH
	}
	return &h.member, nil
}
func (h *podHandler) Gone(name string) { h.gone <- name }

// A pod's answers carry descriptors, requests reach the container that they name,
// and the end of a member's connection is told.
func TestPodControl(t *testing.T) {
	path, fd := listen(t)
	h := &podHandler{gone: make(chan string, 1)}
	file, err := os.CreateTemp(t.TempDir(), "place")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for i := range h.place {
		h.place[i] = int(file.Fd())
	}
	go ServeControl(fd, h)
	ref, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ref)
	c, err := DialControlFD(ref)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Place()
	if err != nil {
		t.Fatal(err)
	}
	var want, have unix.Stat_t
	unix.Fstat(h.place[0], &want)
	if unix.Fstat(got[PlaceVolumesNS], &have); have.Ino != want.Ino {
		t.Errorf("inode %d, want %d", have.Ino, want.Ino)
	}
	closeAll(got)
	if err := c.Call(MethodJoin, JoinArgs{}, []int{0, 1, 2}, nil); !errors.As(err, new(*ControlError)) {
		t.Errorf("a Join that is refused: %v", err)
	}
	if err := c.Call(MethodJoin, JoinArgs{Name: "a", Start: true}, []int{0, 1, 2}, nil); err != nil || !h.joined.Start {
		t.Errorf("Join: %v, %+v", err, h.joined)
	}
	other, err := DialControlFD(ref)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.Container = "a"
	var res ExecResult
	if err := other.Call(MethodExec, ExecArgs{Process: Process{Args: []string{"x"}}}, nil, &res); err != nil || len(h.member.exec.Process.Args) != 1 || h.exec.Process.Args != nil {
		t.Errorf("Exec: %v, the member's %+v, the pod's %+v", err, h.member.exec, h.exec)
	}
	if err := other.Call(MethodStart, StartArgs{}, nil, nil); err != nil {
		t.Errorf("Start: %v", err)
	}
	other.Container = "b"
	var refused *ControlError
	if err := other.Call(MethodProcesses, nil, nil, nil); !errors.As(err, &refused) || refused.Errno != int(unix.ESRCH) {
		t.Errorf("of no member: %v", err)
	}
	c.Close()
	if name := <-h.gone; name != "a" {
		t.Errorf("gone: %q", name)
	}
}

// A sandbox of one container says that it takes no others.
func TestNoPod(t *testing.T) {
	for _, body := range []string{`{"method":"Place"}`, `{"method":"Join","args":{"name":"a"}}`, `{"method":"Wait","container":"a"}`} {
		var refused *ControlError
		if _, err := dispatchBody(new(fakeHandler), []byte(body)); !errors.As(err, &refused) || refused.Errno != int(unix.ENOSYS) {
			t.Errorf("%s: %v", body, err)
		}
	}
}
