package agent

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// A child of the agent becomes a container's process by a script: the system
// calls to make, put together before the fork, with their arguments. Between
// fork and exec a Go program may run no Go (no scheduler, no allocation), and a
// second start of this program would cost more than all the rest: under TCG
// some 30 ms.
//
// The child and the agent talk over two pipes:
//
//	child → agent   {-1, 0}         a checkpoint is reached
//	                {index, errno}  the call at index has failed; the child exits
//	                end of file     the program runs (the pipe closes on exec)
//	agent → child   one byte        go on from a checkpoint

// opKind says what becomes of a call's result.
type opKind uint8

const (
	opMust   opKind = iota // an error ends the child
	opMay                  // an error does not matter
	opExec                 // execve: the next candidate is tried unless the error is final
	opByte                 // must give 1: the agent's byte has come
	opError                // the error of the candidates before it
	opFollow               // the rest of the script is in the page
	opMoved                // dup3 of the report's descriptor, which has another number now
)

// op is one call. keep and use are numbers of slots for results, from 1; 0 is
// none. The use'th slot replaces argument arg.
type op struct {
	args [6]uintptr
	nr   uintptr
	kind opKind
	keep uint8
	use  uint8
	arg  uint8
}

const maxSlots = 8

// script is a child's program and what it needs to stay alive until the fork.
type script struct {
	ops   []op
	names []string // what each call is for, in errors
	alive []any
	page  *page // where it is made, if not on the heap
	next  *rest // of what comes behind opFollow

	report, start int    // the child's ends, by their numbers at this point of the script
	ends          [2]int // and in the agent
	checkpoint    [2]int32
	go_           [1]byte
}

// add appends a call; the string is for an error's text.
func (s *script) add(name string, nr uintptr, args ...uintptr) *op {
	o := op{nr: nr}
	copy(o.args[:], args)
	s.ops = append(s.ops, o)
	s.names = append(s.names, name)
	return &s.ops[len(s.ops)-1]
}

// from makes argument arg the result that was kept in a slot.
func (o *op) from(slot, arg uint8) *op { o.use, o.arg = slot, arg; return o }

// into keeps the result.
func (o *op) into(slot uint8) *op { o.keep = slot; return o }

// may lets the call fail.
func (o *op) may() *op { o.kind = opMay; return o }

// wait is a checkpoint: the child says that it is there, and waits.
func (s *script) wait() {
	s.add("telling the agent", unix.SYS_WRITE, uintptr(s.report), s.messagePointer(), 8)
	s.add("waiting for the agent", unix.SYS_READ, uintptr(s.start), s.bytePointer(), 1).kind = opByte
}

// child is a process that runs a script.
type child struct {
	pid    int
	pidfd  int
	report *os.File
	start  *os.File
	script *script
}

// scriptError is a call of a child's that has failed.
type scriptError struct {
	what  string
	errno unix.Errno
	exec  bool // the program could not be executed
}

func (e *scriptError) Error() string { return fmt.Sprintf("%s: %v", e.what, e.errno) }
func (e *scriptError) Unwrap() error { return e.errno }

var errChildGone = errors.New("the process has ended before its time")

// next waits for the child's next word: nil for a checkpoint, io.EOF when its
// program runs (or it was killed).
func (c *child) next() error {
	var b [8]byte
	if _, err := io.ReadFull(c.report, b[:]); err != nil {
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return fmt.Errorf("a child's report: %w", err)
	}
	index := int32(binary.LittleEndian.Uint32(b[:]))
	errno := unix.Errno(binary.LittleEndian.Uint32(b[4:]))
	if index == -1 {
		return nil
	}
	if index < 0 || int(index) >= len(c.script.ops) {
		return errChildGone
	}
	return &scriptError{c.script.names[index], errno, c.script.ops[index].kind == opError}
}

// reach waits for a checkpoint.
func (c *child) reach() error {
	err := c.next()
	if err == io.EOF {
		return errChildGone
	}
	return err
}

// proceed lets the child go on.
func (c *child) proceed() error {
	if _, err := c.start.Write([]byte{1}); err != nil {
		return errChildGone
	}
	return nil
}

// close drops the pipes.
func (c *child) close() {
	c.report.Close()
	c.start.Close()
}

func (c *child) kill() {
	_ = unix.PidfdSendSignal(c.pidfd, unix.SIGKILL, nil, 0)
}
