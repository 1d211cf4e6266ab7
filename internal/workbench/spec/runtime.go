package spec

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
)

//go:embed runtimes.yaml
var defaultRuntimes []byte

// DefaultRuntimesFile is the name that messages give to the embedded file.
const DefaultRuntimesFile = "runtimes.yaml (built in)"

// Runtime is one way to run a container; docs in lab/sandbox-bench/RUNTIMES.md.
type Runtime struct {
	Name      string   `yaml:"name"`
	Title     string   `yaml:"title"`
	Wall      string   `yaml:"wall"`
	Isolation string   `yaml:"isolation"`
	Needs     string   `yaml:"needs"`
	Command   []string `yaml:"command"`
	Version   []string `yaml:"version"`
	// TryLimit is how long the first run may take.
	TryLimit Duration `yaml:"try-limit"`
	// HideUnified hides a v2 hierarchy beside v1 controllers, which crun refuses.
	HideUnified bool `yaml:"hide-unified-cgroup"`
	// Rootless says that the runtime needs no root at all.
	Rootless bool `yaml:"rootless"`
	// In names the modes that measure it: both when empty.
	In []string `yaml:"in"`
	// TimeShare is the part of a mode's time limit that is this runtime's own, for
	// one so slow that it would take the others' time.
	TimeShare map[string]float64 `yaml:"time-share"`
	// OnlyClient says that there is no OCI command line, and what measures it.
	OnlyClient string `yaml:"only-client"`
	// WhenMissing is what to do about an absent program.
	WhenMissing string `yaml:"when-missing"`
	// Client is set for a runtime behind a daemon's client, such as ctr.
	Client *Client `yaml:"client"`

	file string
	line int
}

// Client drives containers by another program than an OCI runtime: templates
// with {id}, {rootfs}, {image}, {argv…}, {mounts…}, {env…}.
type Client struct {
	Run    []string `yaml:"run"`
	Detach []string `yaml:"detach"`
	Exec   []string `yaml:"exec"`
	Kill   []string `yaml:"kill"`
	Delete []string `yaml:"delete"`
	Mount  []string `yaml:"mount"`
	Tmpfs  []string `yaml:"tmpfs"`
	Env    []string `yaml:"env"`
}

type fileRuntimes struct {
	Runtimes []*Runtime `yaml:"runtimes"`
}

// DefaultRuntimes are those the workbench looks for by itself.
func DefaultRuntimes() ([]*Runtime, error) {
	return ParseRuntimes(DefaultRuntimesFile, defaultRuntimes)
}

// LoadRuntimes reads a user's file.
func LoadRuntimes(path string) ([]*Runtime, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("runtimes: %w", err)
	}
	return ParseRuntimes(path, data)
}

// ParseRuntimes reads and checks runtimes; file is for the messages.
func ParseRuntimes(file string, data []byte) ([]*Runtime, error) {
	var f fileRuntimes
	root, err := decode(file, data, &f)
	if err != nil {
		return nil, err
	}
	if len(f.Runtimes) == 0 {
		return nil, fmt.Errorf("%s: no runtimes: expected a list under \"runtimes:\"", file)
	}
	var errs []error
	seen := map[string]bool{}
	for i, r := range f.Runtimes {
		line := lineOf(root, "runtimes", i)
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("%s: %s", place(file, line), fmt.Sprintf(format, args...)))
		}
		if r == nil {
			bad("an empty runtime")
			continue
		}
		r.file, r.line = file, line
		if !nameRE.MatchString(r.Name) {
			bad("runtime name: want lower-case letters, digits, dots and dashes, got %q", r.Name)
		}
		if seen[r.Name] {
			bad("runtime %q is defined twice", r.Name)
		}
		seen[r.Name] = true
		if r.Title == "" {
			r.Title = r.Name
		}
		if r.Wall == "" {
			r.Wall = "not said"
		}
		if len(r.Command) == 0 || r.Command[0] == "" {
			bad("runtime %q: command: missing: want a list such as [runc]", r.Name)
		}
		for _, m := range r.In {
			if m != "quick" && m != "full" {
				bad("runtime %q: in: no such mode %q: want quick or full", r.Name, m)
			}
		}
		for mode, share := range r.TimeShare {
			if mode != "quick" && mode != "full" {
				bad("runtime %q: time-share: no such mode %q: want quick or full", r.Name, mode)
			}
			if share < 0 || share > 0.9 {
				bad("runtime %q: time-share: %s: want a number from 0 to 0.9, got %v", r.Name, mode, share)
			}
		}
		if r.Client != nil && len(r.Client.Run) == 0 {
			bad("runtime %q: client: run: missing", r.Name)
		}
	}
	return f.Runtimes, errors.Join(errs...)
}

// InMode says whether a mode measures the runtime.
func (r *Runtime) InMode(mode string) bool {
	return len(r.In) == 0 || slices.Contains(r.In, mode)
}

// SelectRuntimes picks runtimes by name.
func SelectRuntimes(all []*Runtime, names []string) ([]*Runtime, error) {
	var out []*Runtime
	var have []string
	for _, r := range all {
		have = append(have, r.Name)
	}
	for _, n := range names {
		i := slices.Index(have, n)
		if i < 0 {
			return nil, fmt.Errorf("no runtime is called %q: there are %s (others: name them in a file with --runtimes-file)", n, strings.Join(have, ", "))
		}
		out = append(out, all[i])
	}
	return out, nil
}
