package drive

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"bulkhead.dev/bulkhead/internal/workbench/spec"
)

// Client drives a runtime through another program's command line, such as ctr
// or nerdctl, by the templates of spec.Client.
type Client struct {
	argv     []string
	t        *spec.Client
	launcher *Launcher
}

// NewClient makes a driver; path is the program that was found.
func NewClient(r *spec.Runtime, path string) (*Client, error) {
	l, err := NewLauncher(false)
	if err != nil {
		return nil, err
	}
	return &Client{argv: append([]string{path}, r.Command[1:]...), t: r.Client, launcher: l}, nil
}

func (k *Client) Close() { k.launcher.Close() }

// fill replaces the words {argv}, {mounts} and {env} by lists, and {id},
// {image}, {rootfs} inside words.
func (k *Client) fill(template []string, c *Container, args []string) []string {
	word := strings.NewReplacer("{id}", c.ID, "{image}", c.Image, "{rootfs}", c.RootFS)
	out := append([]string{}, k.argv...)
	for _, t := range template {
		switch t {
		case "{argv}":
			out = append(out, args...)
		case "{mounts}":
			out = append(out, k.mounts(c)...)
		case "{env}":
			for _, e := range c.environ() {
				for _, t := range k.t.Env {
					out = append(out, strings.ReplaceAll(t, "{env}", e))
				}
			}
		default:
			out = append(out, word.Replace(t))
		}
	}
	return out
}

func (k *Client) mounts(c *Container) []string {
	var out []string
	add := func(template []string, src, dst, mode string) {
		r := strings.NewReplacer("{src}", src, "{dst}", dst, "{mode}", mode)
		for _, t := range template {
			out = append(out, r.Replace(t))
		}
	}
	add(k.t.Tmpfs, "tmpfs", "/tmp", "rw")
	add(k.t.Tmpfs, "tmpfs", "/mnt", "rw")
	add(k.t.Mount, c.Bench, BenchDir, "ro")
	if c.Work != "" {
		add(k.t.Mount, c.Work, WorkDir, "rw")
	}
	return out
}

func (k *Client) Run(ctx context.Context, c *Container) (Outcome, error) {
	return k.launcher.run(ctx, k.fill(k.t.Run, c, c.Args), nil)
}

func (k *Client) Life(context.Context, *Container) (Phases, Outcome, error) {
	return Phases{}, Outcome{}, ErrNoSteps
}

// Hold cannot see the output of a detached container: started is enough.
func (k *Client) Hold(ctx context.Context, c *Container) (*Held, error) {
	h := &Held{Container: c}
	if len(k.t.Detach) == 0 {
		return h, fmt.Errorf("the runtime's file has no \"detach\" command")
	}
	out, err := k.must(ctx, k.t.Detach, c, c.Args)
	if id := strings.TrimSpace(out.Stdout); longID.MatchString(id) {
		h.longID = id
	}
	return h, err
}

// longID is what engines print of a detached container, and call it by in the
// command lines of its processes.
var longID = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (k *Client) must(ctx context.Context, template []string, c *Container, args []string) (Outcome, error) {
	argv := k.fill(template, c, args)
	out, err := k.launcher.run(ctx, argv, nil)
	if err == nil && out.Exit != 0 {
		err = fmt.Errorf("%s failed with status %d: %s", strings.Join(argv[:min(3, len(argv))], " "), out.Exit, Complaint(out.Stderr))
	}
	return out, err
}

func (k *Client) Exec(ctx context.Context, h *Held, args []string) (Outcome, error) {
	if len(k.t.Exec) == 0 {
		return Outcome{}, fmt.Errorf("the runtime's file has no \"exec\" command")
	}
	return k.launcher.run(ctx, k.fill(k.t.Exec, h.Container, args), nil)
}

func (k *Client) Release(ctx context.Context, h *Held) error {
	if h == nil {
		return nil
	}
	// An engine may refuse as long as it thinks the container alive.
	err := k.end(ctx, h.Container)
	for tries := 1; err != nil && tries < deleteTries && ctx.Err() == nil; tries++ {
		select {
		case <-ctx.Done():
		case <-time.After(deletePause):
		}
		err = k.end(ctx, h.Container)
	}
	return err
}

const (
	deleteTries = 4
	deletePause = 200 * time.Millisecond
)

func (k *Client) Purge(ctx context.Context, c *Container) {
	k.end(ctx, c) // that there is none is what is hoped for
}

func (k *Client) end(ctx context.Context, c *Container) error {
	if len(k.t.Kill) > 0 {
		k.must(ctx, k.t.Kill, c, nil) // it may have ended by itself
	}
	if len(k.t.Delete) == 0 {
		return nil
	}
	_, err := k.must(ctx, k.t.Delete, c, nil)
	return err
}

// Processes are those whose command line names a held container (its shim, its
// sandbox), and everything below them.
func (k *Client) Processes(held []*Held) []int {
	var out []int
	for _, pid := range pids() {
		cmdline, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if err != nil || pid == os.Getpid() {
			continue
		}
		for _, h := range held {
			if h == nil {
				continue
			}
			if bytes.Contains(cmdline, []byte(h.ID)) || h.longID != "" && bytes.Contains(cmdline, []byte(h.longID)) {
				live, _ := descendants(pid)
				out = append(append(out, pid), live...)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
