package container

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// A report says what every thread of a sandbox waits for: on the host, as /proc
// tells, and inside, as the wall itself does. It is for a sandbox that does not go on:
// no part of it can be waited for without bound.

// reportTasks bounds the threads of one process that are shown.
const reportTasks = 512

// reportWait is how long the wall's part is waited for; a test changes it.
var reportWait = 5 * time.Second

// Report writes the report on a container (`debug`).
func (rt *Runtime) Report(id string, w io.Writer) error {
	c, err := rt.open(id)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "container %s: %s\n", id, c.status())
	reportOn(w, c.members(), dialer{c.path("control.sock")})
	return nil
}

// members are the processes of a container that the record names, and whoever has
// started the Sentry and waits for it.
func (c *Container) members() []member {
	var list []member
	if starter := parentOf(c.rec.Sentry.Pid); starter > 1 {
		list = append(list, member{"parent of the Sentry", starter, false})
	}
	return append(list, member{"Sentry", c.rec.Sentry.Pid, true}, member{"Gofer", c.rec.Gofer.Pid, false})
}

// members are those of a sandbox that this process has started.
func (r *running) members() []member {
	list := []member{{"this command", os.Getpid(), false}}
	if r.sentry != nil {
		list = append(list, member{"Sentry", r.sentry.pid, true})
	}
	if r.gofer != nil {
		list = append(list, member{"Gofer", r.gofer.pid, false})
	}
	return list
}

// member is a process to be described; family: and what it has started.
type member struct {
	what   string
	pid    int
	family bool
}

func reportOn(w io.Writer, list []member, wall caller) {
	for _, m := range list {
		if m.pid > 0 {
			describeProcess(w, m.what, m.pid, m.family)
		}
	}
	type answer struct {
		res wire.ReportResult
		err error
	}
	got := make(chan answer, 1)
	go func() {
		var a answer
		a.err = wall.Call(wire.MethodReport, nil, nil, &a.res)
		got <- a
	}()
	select {
	case a := <-got:
		if a.err != nil {
			fmt.Fprintf(w, "inside: %v\n", a.err)
			return
		}
		fmt.Fprintf(w, "inside:\n%s\n", a.res.Text)
	case <-time.After(reportWait):
		fmt.Fprintf(w, "inside: no answer within %v\n", reportWait)
	}
}

// describeProcess shows the threads of a process: state, what the kernel waits in
// (wchan), the system call with its arguments, and for root the kernel's stack.
func describeProcess(w io.Writer, what string, pid int, family bool) {
	dir := "/proc/" + strconv.Itoa(pid)
	cmdline, err := slurp(dir + "/cmdline")
	if err != nil {
		fmt.Fprintf(w, "%s: process %d is gone\n", what, pid)
		return
	}
	fmt.Fprintf(w, "%s: process %d: %s\n", what, pid, strings.ReplaceAll(strings.TrimRight(cmdline, "\x00"), "\x00", " "))
	tasks, _ := os.ReadDir(dir + "/task")
	for _, task := range tasks[:min(len(tasks), reportTasks)] {
		describeThread(w, dir+"/task/"+task.Name(), task.Name())
	}
	if more := len(tasks) - reportTasks; more > 0 {
		fmt.Fprintf(w, "  and %d threads more\n", more)
	}
	if !family {
		return
	}
	for _, child := range childrenOf(pid) {
		describeProcess(w, "started by "+strconv.Itoa(pid), child, true)
	}
}

func describeThread(w io.Writer, dir, tid string) {
	read := func(name string) string {
		raw, err := slurp(dir + "/" + name)
		if err != nil {
			return "?"
		}
		return strings.TrimSpace(raw)
	}
	state := "?"
	if stat := read("stat"); strings.Contains(stat, ") ") {
		state = stat[strings.LastIndexByte(stat, ')')+2:][:1]
	}
	fmt.Fprintf(w, "  %s %s %s in %s, call %s", tid, read("comm"), state, read("wchan"), read("syscall"))
	if stack := kernelStack(read("stack")); stack != "" {
		fmt.Fprintf(w, ", stack %s", stack)
	}
	fmt.Fprintln(w)
}

// kernelStack gives the functions of /proc/PID/stack, the innermost first, without
// those that every system call has.
func kernelStack(raw string) string {
	var names []string
	for line := range strings.Lines(raw) {
		_, name, ok := strings.Cut(line, "] ")
		name, _, _ = strings.Cut(name, "+")
		if ok && name != "do_syscall_64" && !strings.HasPrefix(name, "entry_SYSCALL") {
			names = append(names, name)
		}
	}
	return strings.Join(names, " < ")
}

// parentOf gives the pid of a process's parent, 0 if it is gone.
func parentOf(pid int) int {
	f, err := procFields(pid)
	if err != nil {
		return 0
	}
	ppid, _ := strconv.Atoi(f[1])
	return ppid
}

// abortReport is what SIGABRT to a foreground command gives: the report on its
// sandbox, on stderr. The command's own stacks follow, from the Go runtime, and it
// ends as by that signal.
func (f *forwarder) abortReport() {
	var b bytes.Buffer
	fmt.Fprintln(&b, "bulkhead: SIGABRT: what the sandbox waits for:")
	reportOn(&b, f.members(), f.to)
	os.Stderr.Write(b.Bytes())
	signal.Reset(unix.SIGABRT)
	unix.Kill(unix.Getpid(), unix.SIGABRT)
}
