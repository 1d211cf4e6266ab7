package spec

import (
	"fmt"
	"strconv"
	"strings"
)

// Value reads a metric out of a command's output.
func (m *Metric) Value(output string) (float64, error) {
	match := m.re.FindStringSubmatch(output)
	if match == nil {
		return 0, fmt.Errorf("the output has no figure for %s (pattern %s): it says %s", m.Name, m.Match, Excerpt(output))
	}
	v, err := strconv.ParseFloat(strings.ReplaceAll(match[1], ",", ""), 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a number", m.Name, match[1])
	}
	return v * m.Scale, nil
}

// Verify checks exit status and output, and returns the answer, if the
// workload has one.
func (c *Check) Verify(exit int, output string) (answer string, err error) {
	if exit != c.Exit {
		return "", fmt.Errorf("exit status %d instead of %d: %s", exit, c.Exit, Excerpt(output))
	}
	if c.output != nil && !c.output.MatchString(output) {
		return "", fmt.Errorf("wrong output: no match for %s in %s", c.Output, Excerpt(output))
	}
	if c.answer == nil {
		return "", nil
	}
	m := c.answer.FindStringSubmatch(output)
	if m == nil {
		return "", fmt.Errorf("wrong output: no answer (pattern %s) in %s", c.Answer, Excerpt(output))
	}
	if c.Equals != "" && m[1] != c.Equals {
		return m[1], fmt.Errorf("wrong answer: %s instead of %s", Excerpt(m[1]), c.Equals)
	}
	return m[1], nil
}

// Excerpt is the end of an output, on one line and short, for a message.
func Excerpt(s string) string {
	s = strings.TrimSpace(s)
	if s == "" {
		return "nothing"
	}
	const limit = 160
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > limit {
		s = "…" + string(r[len(r)-limit:])
	}
	return strconv.Quote(s)
}
