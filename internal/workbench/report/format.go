package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/stats"
)

// scaleOf picks the unit that a value is easy to read in.
func scaleOf(v float64, unit string) (factor float64, name string) {
	v = math.Abs(v)
	switch unit {
	case "s":
		switch {
		case v < 1e-6:
			return 1e9, "ns"
		case v < 1e-3:
			return 1e6, "µs"
		case v < 1:
			return 1e3, "ms"
		}
		return 1, "s"
	case "B", "B/s":
		suffix := strings.TrimPrefix(unit, "B")
		switch {
		case v >= 1<<30:
			return 1.0 / (1 << 30), "GiB" + suffix
		case v >= 1<<20:
			return 1.0 / (1 << 20), "MiB" + suffix
		case v >= 1<<10:
			return 1.0 / (1 << 10), "KiB" + suffix
		}
		return 1, unit
	case "/s":
		if v >= 1e4 {
			return 1e-3, "k/s"
		}
	}
	return 1, unit
}

// digits writes three significant digits, without an exponent.
func digits(v float64) string {
	a := math.Abs(v)
	switch {
	case a == 0:
		return "0"
	case a >= 100:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case a >= 0.01:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 2, 64)
}

// number writes a value in a unit; a count that is whole has no decimals.
func number(v float64, unit string) string {
	if unit == "" && v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return digits(v)
}

// value writes a value with its unit.
func value(v float64, unit string) string {
	f, name := scaleOf(v, unit)
	if name == "" {
		return number(v*f, unit)
	}
	return digits(v*f) + " " + name
}

// interval writes the interval of a summary in the unit of its median.
func interval(s stats.Summary, unit string) string {
	if s.N < 2 {
		return "one run"
	}
	f, _ := scaleOf(s.Median, unit)
	return number(s.Lo*f, unit) + "–" + number(s.Hi*f, unit)
}

// times writes a ratio.
func times(v float64) string { return digits(v) + "×" }

// costText is a ratio with its interval, and whether it is more than noise.
func costText(f *figure) string {
	if !f.cost.OK() {
		return ""
	}
	t := times(f.cost.Median)
	if f.cost.N > 1 {
		t += fmt.Sprintf(" (%s–%s)", digits(f.cost.Lo), digits(f.cost.Hi))
	}
	switch f.verdict {
	case stats.Noise:
		t += " ≈"
	case stats.Unknown:
		t += " ?"
	}
	return t
}

// shortStatus is what stands in a cell without a figure.
func shortStatus(c *results.Cell) string {
	switch c.Status {
	case results.CellPending:
		return "not reached"
	case results.CellSkipped:
		return "not measured"
	case results.CellOK:
		return "no figure"
	}
	return string(c.Status)
}

// join lists things as a sentence does.
func join(parts []string) string {
	switch len(parts) {
	case 0:
		return ""
	case 1:
		return parts[0]
	}
	return strings.Join(parts[:len(parts)-1], ", ") + " and " + parts[len(parts)-1]
}

func capital(s string) string {
	switch s {
	case "":
		return s
	case "cpu":
		return "CPU"
	}
	r := []rune(s)
	return strings.ToUpper(string(r[:1])) + string(r[1:])
}

// Value writes a value with its unit, for other pages than the report.
func Value(v float64, unit string) string { return value(v, unit) }

// Times writes a ratio, with its interval when there are several pairs.
func Times(s stats.Summary) string {
	t := times(s.Median)
	if s.N > 1 {
		t += fmt.Sprintf(" (%s–%s)", digits(s.Lo), digits(s.Hi))
	}
	return t
}
