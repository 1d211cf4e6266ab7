package spec

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

//go:embed workloads.yaml
var defaultWorkloads []byte

// DefaultWorkloadsFile is the name that messages give to the embedded file.
const DefaultWorkloadsFile = "workloads.yaml (built in)"

// Defaults are the workbench's own workloads.
func Defaults() ([]*Workload, error) {
	return ParseWorkloads(DefaultWorkloadsFile, defaultWorkloads)
}

// LoadWorkloads reads a user's file.
func LoadWorkloads(path string) ([]*Workload, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("workloads: %w", err)
	}
	return ParseWorkloads(path, data)
}

type fileWorkloads struct {
	Workloads []*Workload `yaml:"workloads"`
}

// ParseWorkloads reads and checks workloads; file is for the messages.
func ParseWorkloads(file string, data []byte) ([]*Workload, error) {
	var f fileWorkloads
	root, err := decode(file, data, &f)
	if err != nil {
		return nil, err
	}
	if len(f.Workloads) == 0 {
		return nil, fmt.Errorf("%s: no workloads: expected a list under \"workloads:\"", file)
	}
	var errs []error
	seen := map[string]int{}
	for i, w := range f.Workloads {
		line := lineOf(root, "workloads", i)
		if w == nil {
			errs = append(errs, fmt.Errorf("%s: an empty workload", place(file, line)))
			continue
		}
		w.file, w.line = file, line
		errs = append(errs, w.check(root, i)...)
		if first, dup := seen[w.Name]; dup && w.Name != "" {
			errs = append(errs, fmt.Errorf("%s: workload %q is already defined on line %d", place(file, line), w.Name, first))
		}
		seen[w.Name] = line
	}
	return f.Workloads, errors.Join(errs...)
}

var nameRE = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// check validates one workload and fills in its defaults.
func (w *Workload) check(root *yaml.Node, i int) []error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: workload %q: %s: %s", place(w.file, lineOf(root, "workloads", i, field)),
			w.Name, field, fmt.Sprintf(format, args...)))
	}
	if !nameRE.MatchString(w.Name) {
		bad("name", "want lower-case letters, digits, dots and dashes, got %q", w.Name)
	}
	if w.Title == "" {
		w.Title = w.Name
	}
	if w.Group == "" {
		w.Group = "other"
	}
	if w.Kind == "" {
		w.Kind = Command
	}
	if _, ok := sources[w.Kind]; !ok {
		bad("kind", "no such kind %q: want command, lifecycle, exec, idle, rate or many", w.Kind)
	}
	if len(w.In) == 0 {
		w.In = []string{"full"}
	}
	for _, m := range w.In {
		if m != "quick" && m != "full" {
			bad("in", "no such mode %q: want quick or full", m)
		}
	}
	if len(w.Command) == 0 {
		bad("command", "missing: want a list such as [sh, -c, \"…\"]")
	}
	if w.Caches != "" && w.Caches != "warm" && w.Caches != "cold" {
		bad("caches", "want warm or cold, got %q", w.Caches)
	}
	if w.Repeat == 0 {
		w.Repeat = 1
	}
	if w.Repeat < 0 || w.Repeat > 100 {
		bad("repeat", "want 1 to 100, got %d", w.Repeat)
	}
	if w.Timeout == 0 {
		w.Timeout = Duration(time.Minute)
	}
	if w.Timeout < 0 {
		bad("timeout", "want a positive time, got %v", time.Duration(w.Timeout))
	}
	w.checkMetrics(bad)
	w.checkCheck(bad)
	return errs
}

func (w *Workload) checkMetrics(bad func(field, format string, args ...any)) {
	if len(w.Metrics) == 0 {
		bad("metrics", "missing: nothing would be measured")
	}
	seen := map[string]bool{}
	for j := range w.Metrics {
		m := &w.Metrics[j]
		if !nameRE.MatchString(m.Name) {
			bad("metrics", "name of metric %d: want lower-case letters, digits, dots and dashes, got %q", j+1, m.Name)
		}
		if seen[m.Name] {
			bad("metrics", "two metrics are called %q", m.Name)
		}
		seen[m.Name] = true
		m.fill()
		if !slices.Contains([]string{"lower", "higher"}, m.Better) {
			bad("metrics", "%s: better: want lower or higher, got %q", m.Name, m.Better)
		}
		switch {
		case (m.Source == "") == (m.Match == ""):
			bad("metrics", "%s: want either source (one of %s) or match (a pattern for the output)", m.Name, strings.Join(sources[w.Kind], ", "))
		case m.Source != "" && !slices.Contains(sources[w.Kind], m.Source):
			bad("metrics", "%s: kind %s has no source %q: want one of %s", m.Name, w.Kind, m.Source, strings.Join(sources[w.Kind], ", "))
		case m.Match != "" && (w.Kind == Idle || w.Kind == Rate || w.Kind == Many):
			bad("metrics", "%s: kind %s has no single output to match", m.Name, w.Kind)
		case m.Match != "":
			m.re = pattern(m.Match, 1, func(why string) { bad("metrics", "%s: match: %s", m.Name, why) })
		}
	}
}

func (m *Metric) fill() {
	if m.Title == "" {
		m.Title = m.Name
	}
	if m.Better == "" {
		m.Better = "lower"
	}
	if m.Scale == 0 {
		m.Scale = 1
	}
	if m.Unit == "" {
		m.Unit = map[string]string{"memory": "B", "processes": "", "rate": "/s"}[m.Source]
		if m.Source != "" && m.Unit == "" && m.Source != "processes" {
			m.Unit = "s"
		}
	}
	if m.Source == "rate" {
		m.Better = "higher"
	}
}

func (w *Workload) checkCheck(bad func(field, format string, args ...any)) {
	c := &w.Check
	if c.Output != "" {
		c.output = pattern(c.Output, 0, func(why string) { bad("check", "output: %s", why) })
	}
	if c.Answer != "" {
		c.answer = pattern(c.Answer, 1, func(why string) { bad("check", "answer: %s", why) })
	}
	if c.Answer == "" && (c.Equals != "" || c.FilesUnder != "") {
		bad("check", "equals and files-under compare the answer: say where it stands in the output with answer")
	}
	if c.Equals != "" && c.FilesUnder != "" {
		bad("check", "equals and files-under exclude each other")
	}
}

// pattern compiles a regular expression, multi-line, with that many groups.
func pattern(text string, groups int, bad func(string)) *regexp.Regexp {
	re, err := regexp.Compile("(?m)" + text)
	if err != nil {
		bad(err.Error())
		return nil
	}
	if groups > 0 && re.NumSubexp() != groups {
		bad(fmt.Sprintf("want one (group) that holds the value, got %d in %q", re.NumSubexp(), text))
		return nil
	}
	return re
}

// Select picks workloads by name; an unknown one is named together with what
// there is.
func Select(all []*Workload, names []string) ([]*Workload, error) {
	var out []*Workload
	for _, n := range names {
		i := slices.IndexFunc(all, func(w *Workload) bool { return w.Name == n })
		if i < 0 {
			return nil, fmt.Errorf("no workload is called %q: there are %s", n, strings.Join(Names(all), ", "))
		}
		out = append(out, all[i])
	}
	return out, nil
}

// Names lists the workloads' names.
func Names(all []*Workload) []string {
	var out []string
	for _, w := range all {
		out = append(out, w.Name)
	}
	return out
}
