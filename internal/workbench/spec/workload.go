// Package spec owns what a user writes for the workbench: workloads and
// runtimes as YAML data, and every message about a mistake in it, each with its
// file, its line and what to do. The defaults are files of the same form,
// embedded.
//
// It holds no state.
package spec

import (
	"fmt"
	"regexp"
	"time"

	"go.yaml.in/yaml/v3"
)

// Kind says how a workload drives a container.
type Kind string

const (
	Command   Kind = "command"   // run a command to its end
	Lifecycle Kind = "lifecycle" // create, start, first output, delete, each timed
	Exec      Kind = "exec"      // a command in a container that already runs
	Idle      Kind = "idle"      // containers that sleep: memory and processes
	Rate      Kind = "rate"      // as many whole runs as fit into a time
	Many      Kind = "many"      // many containers at once
)

// sources lists, for each kind, the values the workbench itself can measure;
// the command's own output gives others, by match.
var sources = map[Kind][]string{
	Command:   {"wall"},
	Lifecycle: {"create", "start", "first", "delete", "total"},
	Exec:      {"wall"},
	Idle:      {"memory", "processes", "wall"},
	Rate:      {"rate"},
	Many:      {"wall", "memory", "processes"},
}

// Workload is one thing to measure; docs in lab/sandbox-bench/WORKLOADS.md.
type Workload struct {
	Name     string            `yaml:"name"`
	Title    string            `yaml:"title"`
	Group    string            `yaml:"group"`
	About    string            `yaml:"about"`
	Kind     Kind              `yaml:"kind"`
	In       []string          `yaml:"in"`
	Command  []string          `yaml:"command"`
	Env      map[string]string `yaml:"env"`
	Requires []string          `yaml:"requires"`
	Set      map[string]Vars   `yaml:"set"`
	Writable bool              `yaml:"writable"`
	Caches   string            `yaml:"caches"`
	Count    string            `yaml:"count"`
	Parallel string            `yaml:"parallel"`
	Seconds  string            `yaml:"seconds"`
	Repeat   int               `yaml:"repeat"`
	Timeout  Duration          `yaml:"timeout"`
	Metrics  []Metric          `yaml:"metrics"`
	Check    Check             `yaml:"check"`

	file string
	line int
}

// Vars are the values of ${NAME} in one mode.
type Vars map[string]string

// Metric is one figure: from a source of the workbench's, or from the output.
type Metric struct {
	Name   string  `yaml:"name"`
	Title  string  `yaml:"title"`
	Source string  `yaml:"source"`
	Match  string  `yaml:"match"`
	Scale  float64 `yaml:"scale"`
	Unit   string  `yaml:"unit"`
	Better string  `yaml:"better"`

	re *regexp.Regexp
}

// Check says what a right result looks like.
type Check struct {
	Exit       int    `yaml:"exit"`
	Output     string `yaml:"output"`
	Answer     string `yaml:"answer"`
	Equals     string `yaml:"equals"`
	FilesUnder string `yaml:"files-under"`

	output, answer *regexp.Regexp
}

// Duration is a time such as 90s or 2m.
type Duration time.Duration

// UnmarshalYAML reads time.ParseDuration's form.
func (d *Duration) UnmarshalYAML(n *yaml.Node) error {
	v, err := time.ParseDuration(n.Value)
	if err != nil {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: want a time such as 90s or 2m, got %q", n.Line, n.Value)}}
	}
	*d = Duration(v)
	return nil
}

// InMode says whether the workload belongs to a mode.
func (w *Workload) InMode(mode string) bool {
	for _, m := range w.In {
		if m == mode {
			return true
		}
	}
	return false
}

// Where is the workload's place in its file.
func (w *Workload) Where() string { return place(w.file, w.line) }
