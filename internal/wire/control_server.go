package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// ControlHandler is what a Sentry implements. Its methods are called from one
// goroutine per connection, concurrently. An error that is (or wraps) a
// *ControlError or a unix.Errno keeps its number on the way to the client.
//
// Exec owns the descriptors it is given, and so does Start, on success and on
// failure.
type ControlHandler interface {
	Start(args StartArgs, fds []int) error
	Exec(args ExecArgs, fds []int) (ExecResult, error)
	Signal(args SignalArgs) error
	Wait(args WaitArgs) (WaitResult, error)
	Processes() ([]ProcessInfo, error)
	Pause() error
	Resume() error
	Stats() (StatsResult, error)
	Resize(args ResizeArgs) error
	Update(limits Limits) error
	Shutdown() error
}

// Reporter is a ControlHandler that can say what its sandbox waits for.
type Reporter interface {
	Report() (ReportResult, error)
}

// ServeControl answers requests on fd, the Sentry's --control-fd, until the
// connection ends or, if fd listens, for as long as it does. It uses accept4,
// recvmsg, sendmsg and close only, and blocks in them.
func ServeControl(fd int, h ControlHandler) error {
	listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return fmt.Errorf("control descriptor %d: %w", fd, err)
	}
	if listening == 0 {
		return serveControlConn(fd, h)
	}
	for {
		conn, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			go serveControlConn(conn, h)
		case unix.EINTR, unix.ECONNABORTED:
		default:
			return fmt.Errorf("control socket: accept: %w", err)
		}
	}
}

func serveControlConn(fd int, h ControlHandler) error {
	defer unix.Close(fd)
	s := session{h: h}
	defer s.end()
	for {
		body, fds, err := readFrame(fd)
		if err != nil {
			return err
		}
		if err := s.answer(fd, body, fds); err != nil {
			return err
		}
	}
}

// answering counts the requests that were read and have no answer yet.
var answering atomic.Int32

// session is one connection.
type session struct {
	h      ControlHandler
	joined []string // containers that live as long as it does
}

func (s *session) end() {
	for _, name := range s.joined {
		s.h.(PodHandler).Gone(name)
	}
}

func (s *session) answer(fd int, body []byte, fds []int) error {
	answering.Add(1)
	defer answering.Add(-1)
	result, out, err := s.dispatch(body, fds)
	raw, merr := marshalReply(result, err)
	if merr != nil {
		return merr
	}
	return writeFrame(fd, raw, out)
}

// Answered waits until no request is without its answer, but not for longer
// than limit: for a process about to end, whose init may be gone before the
// answer to Start is.
func Answered(limit time.Duration) {
	for end := time.Now().Add(limit); answering.Load() != 0 && time.Now().Before(end); {
		time.Sleep(100 * time.Microsecond)
	}
}

// dispatch decodes one request and calls its method. Descriptors that the method
// does not take are closed; out are some that go with the answer.
func (s *session) dispatch(body []byte, fds []int) (result any, out []int, err error) {
	if string(body) == plainStart {
		return nil, nil, s.h.Start(StartArgs{}, fds)
	}
	var req request
	if err := json.Unmarshal(body, &req); err != nil {
		closeAll(fds)
		return nil, nil, controlErrorf(unix.EINVAL, "malformed request: %v", err)
	}
	if req.Container == "" && req.Method != MethodPlace && req.Method != MethodJoin {
		result, err = dispatchControl(s.h, req, fds)
		return result, nil, err
	}
	p, ok := s.h.(PodHandler)
	if !ok {
		closeAll(fds)
		return nil, nil, controlErrorf(unix.ENOSYS, "this sandbox takes no further containers")
	}
	switch req.Method {
	case MethodPlace:
		closeAll(fds)
		out, err = p.Place()
		return nil, out, err
	case MethodJoin:
		args, err := decodeArgs[JoinArgs](req)
		if err != nil {
			closeAll(fds)
			return nil, nil, err
		}
		if err := p.Join(args, fds); err != nil {
			return nil, nil, err
		}
		s.joined = append(s.joined, args.Name)
		return nil, nil, nil
	}
	h, err := p.Member(req.Container)
	if err != nil {
		closeAll(fds)
		return nil, nil, err
	}
	result, err = dispatchControl(h, req, fds)
	return result, nil, err
}

// dispatchControl calls the method of a request.
func dispatchControl(h ControlHandler, req request, fds []int) (result any, err error) {
	switch req.Method {
	case MethodStart, MethodExec:
	default:
		closeAll(fds)
		fds = nil
	}
	switch req.Method {
	case MethodStart:
		args, err := decodeArgs[StartArgs](req)
		if err != nil {
			closeAll(fds)
			return nil, err
		}
		return nil, h.Start(args, fds)
	case MethodExec:
		args, err := decodeArgs[ExecArgs](req)
		if err != nil {
			closeAll(fds)
			return nil, err
		}
		return h.Exec(args, fds)
	case MethodSignal:
		return call(req, func(a SignalArgs) (any, error) { return nil, h.Signal(a) })
	case MethodWait:
		return call(req, func(a WaitArgs) (any, error) { return h.Wait(a) })
	case MethodProcesses:
		return h.Processes()
	case MethodPause:
		return nil, h.Pause()
	case MethodResume:
		return nil, h.Resume()
	case MethodStats:
		return h.Stats()
	case MethodResize:
		return call(req, func(a ResizeArgs) (any, error) { return nil, h.Resize(a) })
	case MethodUpdate:
		return call(req, func(a Limits) (any, error) { return nil, h.Update(a) })
	case MethodShutdown:
		return nil, h.Shutdown()
	case MethodReport:
		if r, ok := h.(Reporter); ok {
			return r.Report()
		}
		return nil, controlErrorf(unix.ENOSYS, "this wall makes no report")
	}
	return nil, controlErrorf(unix.ENOSYS, "unknown control method %q", req.Method)
}

func decodeArgs[T any](req request) (T, error) {
	var args T
	if len(req.Args) == 0 {
		return args, nil
	}
	if err := json.Unmarshal(req.Args, &args); err != nil {
		return args, controlErrorf(unix.EINVAL, "%s: malformed arguments: %v", req.Method, err)
	}
	return args, nil
}

func call[T any](req request, f func(T) (any, error)) (any, error) {
	args, err := decodeArgs[T](req)
	if err != nil {
		return nil, err
	}
	return f(args)
}

func marshalReply(result any, err error) ([]byte, error) {
	if err != nil {
		return json.Marshal(&reply{Error: asControlError(err)})
	}
	if result == nil {
		return []byte(emptyReply), nil
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return nil, err
	}
	return json.Marshal(&reply{Result: raw})
}

func controlErrorf(errno unix.Errno, format string, args ...any) *ControlError {
	return &ControlError{Message: fmt.Sprintf(format, args...), Errno: int(errno)}
}

func asControlError(err error) *ControlError {
	var ce *ControlError
	if errors.As(err, &ce) {
		return &ControlError{Message: err.Error(), Errno: ce.Errno}
	}
	var errno unix.Errno
	if errors.As(err, &errno) {
		return &ControlError{Message: err.Error(), Errno: int(errno)}
	}
	return &ControlError{Message: err.Error()}
}
