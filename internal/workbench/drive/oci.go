package drive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// Driver runs containers on one runtime.
type Driver interface {
	// Run runs a container to its end.
	Run(ctx context.Context, c *Container) (Outcome, error)
	// Life runs a container to its end step by step.
	Life(ctx context.Context, c *Container) (Phases, Outcome, error)
	// Hold starts a container that stays; Release must follow, whatever Hold says.
	Hold(ctx context.Context, c *Container) (*Held, error)
	// Exec runs a command in a held container.
	Exec(ctx context.Context, h *Held, args []string) (Outcome, error)
	// Release ends a held container.
	Release(ctx context.Context, h *Held) error
	// Purge removes a container in whatever state it is, if it is there.
	Purge(ctx context.Context, c *Container)
	// Processes lists the host's processes of the held containers.
	Processes(held []*Held) []int
	Close()
}

// ErrNoSteps is why a client's runtime has no cell for a lifecycle.
var ErrNoSteps = errors.New("a client has one command for the whole life: its steps cannot be timed apart")

// Phases are the times of a container's steps. First counts from the call of
// start to the container's first output; Total leaves out the container's end,
// which each runtime tells in its own time.
type Phases struct {
	Create, Start, First, Delete, Total time.Duration
}

// Held is a container that stays until Release.
type Held struct {
	*Container
	out, err *watch
	longID   string // what an engine calls it, where that is not its ID
}

// ErrUnseen says that the output of a detached container goes elsewhere.
var ErrUnseen = errors.New("the output of a detached container cannot be seen")

// WaitOutput waits for the first output of the container.
func (h *Held) WaitOutput(ctx context.Context) (string, error) {
	if h.out == nil {
		return "", ErrUnseen
	}
	select {
	case t := <-h.out.first:
		h.out.first <- t
		return h.out.String(), nil
	case <-h.out.ended:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	select { // both may have happened
	case t := <-h.out.first:
		h.out.first <- t
		return h.out.String(), nil
	default:
		return "", fmt.Errorf("%s ended without output: %s", h.ID, Complaint(h.err.String()))
	}
}

// OCI drives a runtime by the OCI command line that runc made common.
type OCI struct {
	argv     []string // the runtime and its global flags, --root included
	dir      string   // state and bundles
	launcher *Launcher
}

// NewOCI makes a driver that keeps its state below dir. path is the program
// that r.Command[0] was found as.
func NewOCI(r *spec.Runtime, path, dir string) (*OCI, error) {
	state := filepath.Join(dir, r.Name+".state")
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, fmt.Errorf("state of %s: %w", r.Name, err)
	}
	l, err := NewLauncher(r.HideUnified)
	if err != nil {
		return nil, err
	}
	argv := append([]string{path}, r.Command[1:]...)
	return &OCI{argv: append(argv, "--root", state), dir: dir, launcher: l}, nil
}

func (o *OCI) Close() { o.launcher.Close() }

func (o *OCI) command(args ...string) []string {
	return append(append([]string{}, o.argv...), args...)
}

// verb runs one of the runtime's commands, which must succeed.
func (o *OCI) verb(ctx context.Context, args ...string) (time.Duration, error) {
	out, err := o.launcher.run(ctx, o.command(args...), nil)
	if err == nil && out.Exit != 0 {
		err = fmt.Errorf("%s failed with status %d: %s", args[0], out.Exit, Complaint(out.Stderr+"\n"+out.Stdout))
	}
	return out.Wall, err
}

func (o *OCI) Run(ctx context.Context, c *Container) (Outcome, error) {
	bundle, err := c.writeBundle(o.dir)
	if err != nil {
		return Outcome{}, err
	}
	defer os.RemoveAll(bundle)
	return o.launcher.run(ctx, o.command("run", "--bundle", bundle, c.ID), nil)
}

func (o *OCI) Life(ctx context.Context, c *Container) (Phases, Outcome, error) {
	var p Phases
	h, took, err := o.create(ctx, c)
	defer h.close(o.dir)
	p.Create = took
	if err == nil {
		begin := time.Now()
		p.Start, err = o.verb(ctx, "start", c.ID)
		if err == nil {
			p.First, err = h.firstAfter(ctx, begin)
		}
		if err == nil {
			err = o.waitEnd(ctx, h)
		}
	}
	out := Outcome{Stdout: h.out.String(), Stderr: h.err.String()}
	if err != nil {
		return p, out, err
	}
	p.Delete, err = o.deleteStopped(ctx, c.ID)
	p.Total = p.Create + max(p.Start, p.First) + p.Delete
	return p, out, err
}

// firstAfter waits for the container's first output.
func (h *Held) firstAfter(ctx context.Context, begin time.Time) (time.Duration, error) {
	if _, err := h.WaitOutput(ctx); err != nil {
		return 0, err
	}
	first := <-h.out.first
	h.out.first <- first
	return first.Sub(begin), nil
}

// patience is how long the end of a container's output is waited for before
// the runtime is asked: a sandbox may hold the pipe until it is deleted.
const patience = 100 * time.Millisecond

// waitEnd waits until the container is stopped.
func (o *OCI) waitEnd(ctx context.Context, h *Held) error {
	for {
		select {
		case <-h.out.ended:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(patience):
		}
		reapOrphans()
		out, err := o.launcher.run(ctx, o.command("state", h.ID), nil)
		if err != nil {
			return err
		}
		var state struct{ Status string }
		if json.Unmarshal([]byte(out.Stdout), &state) == nil && state.Status == "stopped" {
			return nil
		}
	}
}

// deleteStopped deletes a container whose output has ended, and which is about
// to be seen as stopped; the time is that of the call that succeeded.
func (o *OCI) deleteStopped(ctx context.Context, id string) (time.Duration, error) {
	for {
		reapOrphans()
		took, err := o.verb(ctx, "delete", id)
		if err == nil || ctx.Err() != nil {
			return took, err
		}
		select {
		case <-ctx.Done():
			return took, fmt.Errorf("%w; then: %w", err, ctx.Err())
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// create makes a bundle and calls create. The Held is good for close always.
func (o *OCI) create(ctx context.Context, c *Container) (*Held, time.Duration, error) {
	h := &Held{Container: c}
	bundle, err := c.writeBundle(o.dir)
	if err != nil {
		return h, 0, err
	}
	if h.out, err = newWatch(); err != nil {
		return h, 0, err
	}
	if h.err, err = newWatch(); err != nil {
		return h, 0, err
	}
	argv := o.command("create", "--bundle", bundle, c.ID)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = h.out.w, h.err.w
	begin := time.Now()
	err = o.launcher.start(cmd)
	if err == nil {
		err = waitOwn(cmd)
	}
	took := time.Since(begin)
	h.out.handedOver()
	h.err.handedOver()
	if ctx.Err() != nil {
		return h, took, ctx.Err()
	}
	if err != nil {
		return h, took, fmt.Errorf("create failed: %w: %s", err, Complaint(h.err.drained()+"\n"+h.out.String()))
	}
	return h, took, nil
}

// drained gives a writer's last words a moment to arrive.
func (o *watch) drained() string {
	select {
	case <-o.ended:
	case <-time.After(200 * time.Millisecond):
	}
	return o.String()
}

func (o *OCI) Hold(ctx context.Context, c *Container) (*Held, error) {
	h, _, err := o.create(ctx, c)
	if err != nil {
		return h, err
	}
	_, err = o.verb(ctx, "start", c.ID)
	return h, err
}

func (o *OCI) Exec(ctx context.Context, h *Held, args []string) (Outcome, error) {
	return o.launcher.run(ctx, o.command(append([]string{"exec", h.ID}, args...)...), nil)
}

func (o *OCI) Release(ctx context.Context, h *Held) error {
	if h == nil {
		return nil
	}
	_, err := o.verb(ctx, "delete", "--force", h.ID)
	h.close(o.dir)
	return err
}

func (o *OCI) Purge(ctx context.Context, c *Container) {
	o.verb(ctx, "delete", "--force", c.ID) // that there is none is what is hoped for
	os.RemoveAll(filepath.Join(o.dir, c.ID))
}

// Processes are all below this process: cells are measured one at a time.
func (o *OCI) Processes([]*Held) []int {
	live, _ := descendants(os.Getpid())
	return live
}

func (h *Held) close(dir string) {
	for _, w := range []*watch{h.out, h.err} {
		if w != nil {
			w.close()
		}
	}
	os.RemoveAll(filepath.Join(dir, h.ID))
}
