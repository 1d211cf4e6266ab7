package container

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hookKind is one list of hooks of config.json.
type hookKind struct {
	name string
	of   func(*specs.Hooks) []specs.Hook
}

// hookKinds are in the order in which a container's life meets them.
var hookKinds = []hookKind{
	{"prestart", func(h *specs.Hooks) []specs.Hook { return h.Prestart }}, // deprecated, and still in use
	{"createRuntime", func(h *specs.Hooks) []specs.Hook { return h.CreateRuntime }},
	{"createContainer", func(h *specs.Hooks) []specs.Hook { return h.CreateContainer }},
	{"startContainer", func(h *specs.Hooks) []specs.Hook { return h.StartContainer }},
	{"poststart", func(h *specs.Hooks) []specs.Hook { return h.Poststart }},
	{"poststop", func(h *specs.Hooks) []specs.Hook { return h.Poststop }},
}

func hooksOf(h *specs.Hooks, kind string) []specs.Hook {
	if h == nil {
		return nil
	}
	for _, k := range hookKinds {
		if k.name == kind {
			return k.of(h)
		}
	}
	panic("no hooks are called " + kind)
}

// runHooks runs one list of hooks on the host, in order, each with the state of
// the container on its stdin. It stops at the first that fails. netns, if not
// nil, is the network namespace to run in (createContainer).
func runHooks(h *specs.Hooks, kind string, state *specs.State, netns *os.File) error {
	for i, hook := range hooksOf(h, kind) {
		if err := runHook(&hook, state, netns); err != nil {
			return fmt.Errorf("hooks.%s[%d] (%s): %w", kind, i, hook.Path, err)
		}
	}
	return nil
}

// hookOutput bounds what is kept of a failing hook's output for the message.
const hookOutput = 4 << 10

// hookGrace is how long a hook's output is waited for once the hook has ended: what
// it has started may keep it open.
const hookGrace = time.Second

func runHook(hook *specs.Hook, state *specs.State, netns *os.File) error {
	raw, err := json.Marshal(state)
	if err != nil {
		return err
	}
	ctx := context.Background()
	if hook.Timeout != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(*hook.Timeout)*time.Second)
		defer cancel()
	}
	cmd := exec.CommandContext(ctx, hook.Path)
	if len(hook.Args) > 0 {
		cmd.Args = hook.Args
	}
	cmd.Env = hook.Env
	if cmd.Env == nil {
		cmd.Env = []string{} // not ours: a hook has the environment it is given
	}
	cmd.Dir = state.Bundle
	cmd.Stdin = bytes.NewReader(raw)
	out := &tail{max: hookOutput}
	cmd.Stdout, cmd.Stderr = out, out
	// A hook that starts others and runs out of time ends with all of them.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	cmd.WaitDelay = hookGrace
	_, err = inNetNS(netns, func() (struct{}, error) { return struct{}{}, cmd.Start() })
	if err != nil {
		return err
	}
	err = cmd.Wait()
	switch {
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it has ended well, and what it started keeps its output open
	case ctx.Err() != nil:
		return fmt.Errorf("did not end within %d s", *hook.Timeout)
	case err != nil && len(out.buf) > 0:
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out.buf)))
	}
	return err
}

// tail keeps the last max bytes that are written to it.
type tail struct {
	max int
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.buf = append(t.buf, p...)
	if over := len(t.buf) - t.max; over > 0 {
		t.buf = append(t.buf[:0], t.buf[over:]...)
	}
	return len(p), nil
}

func marshalState(state *specs.State) ([]byte, error) { return json.Marshal(state) }

// timeoutOf gives a channel that fires when a hook's time is over, or never.
func timeoutOf(hook *specs.Hook) <-chan time.Time {
	if hook.Timeout == nil {
		return nil
	}
	return time.After(time.Duration(*hook.Timeout) * time.Second)
}
