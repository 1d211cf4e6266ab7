package spec

import (
	"fmt"
	"regexp"
	"strconv"
)

var varRE = regexp.MustCompile(`\$\{([a-z][a-z0-9_]*)\}`)

// ForMode returns a copy of the workload with ${NAME} replaced by the mode's
// values, and its numbers read. A name without a value is a mistake.
func (w *Workload) ForMode(mode string) (*Workload, error) {
	out := *w
	vars := w.Set[mode]
	if vars == nil {
		vars = w.Set["full"]
	}
	var missing string
	expand := func(s string) string {
		return varRE.ReplaceAllStringFunc(s, func(m string) string {
			name := m[2 : len(m)-1]
			v, ok := vars[name]
			if !ok {
				missing = name
			}
			return v
		})
	}
	out.Command = nil
	for _, a := range w.Command {
		out.Command = append(out.Command, expand(a))
	}
	out.Count, out.Parallel, out.Seconds = expand(w.Count), expand(w.Parallel), expand(w.Seconds)
	out.Check.Output = expand(w.Check.Output)
	out.Check.Equals = expand(w.Check.Equals)
	if missing != "" {
		return nil, fmt.Errorf("%s: workload %q: ${%s} has no value for mode %s: add it under set", w.Where(), w.Name, missing, mode)
	}
	if out.Check.Output != "" {
		re, err := regexp.Compile("(?m)" + out.Check.Output)
		if err != nil {
			return nil, fmt.Errorf("%s: workload %q: check: output: %w", w.Where(), w.Name, err)
		}
		out.Check.output = re
	}
	for field, v := range map[string]string{"count": out.Count, "parallel": out.Parallel, "seconds": out.Seconds} {
		if v == "" {
			continue
		}
		if n, err := strconv.ParseFloat(v, 64); err != nil || n <= 0 || n > 10000 {
			return nil, fmt.Errorf("%s: workload %q: %s: want a number from 1 to 10000, got %q", w.Where(), w.Name, field, v)
		}
	}
	return &out, nil
}

// Number reads one of the workload's numbers, with a default.
func Number(text string, def float64) float64 {
	n, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return def
	}
	return n
}
