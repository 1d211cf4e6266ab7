package container

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"bulkhead.dev/bulkhead/internal/wire"
)

// answers is a wall that makes a report, or never answers.
type answers struct {
	text string
	err  error
	wait chan struct{}
}

func (a answers) Call(m wire.Method, _ any, _ []int, result any) error {
	if a.wait != nil {
		<-a.wait
	}
	if r, ok := result.(*wire.ReportResult); ok && m == wire.MethodReport {
		r.Text = a.text
	}
	return a.err
}

func TestReport(t *testing.T) {
	gone := member{"Gofer", 1 << 30, false}
	for _, tc := range []struct {
		name string
		wall answers
		want string
	}{
		{"answers", answers{text: "1 task"}, "inside:\n1 task\n"},
		{"refuses", answers{err: errors.New("not so")}, "inside: not so\n"},
		{"is silent", answers{wait: make(chan struct{})}, "inside: no answer within 20ms\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.wall.wait != nil {
				defer close(tc.wall.wait)
				reportWait = 20 * time.Millisecond
				defer func() { reportWait = 5 * time.Second }()
			}
			var b bytes.Buffer
			reportOn(&b, []member{{"this test", os.Getpid(), true}, gone}, tc.wall)
			for _, want := range []string{"this test: process ", " call ", "Gofer: process 1073741824 is gone\n", tc.want} {
				if !strings.Contains(b.String(), want) {
					t.Errorf("no %q in\n%s", want, b.String())
				}
			}
		})
	}
}

func TestKernelStack(t *testing.T) {
	raw := "[<0>] do_wait+0x53/0x120\n[<0>] kernel_wait4+0xe3/0x190\n[<0>] do_syscall_64+0x71/0x290\n[<0>] entry_SYSCALL_64_after_hwframe+0x76/0x7e\n"
	if got, want := kernelStack(raw), "do_wait < kernel_wait4"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := kernelStack("?"); got != "" {
		t.Errorf("%q of none", got)
	}
}
