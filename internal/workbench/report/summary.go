package report

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/stats"
)

// Summary is the matrix for a terminal: medians and ratios.
func Summary(res *results.Results) string {
	m := newModel(res)
	table := [][]string{{""}}
	for _, c := range m.columns {
		table[0] = append(table[0], c.Name)
	}
	for _, g := range m.groups {
		for _, r := range g.rows {
			line := []string{r.name()}
			for i := range r.cells {
				line = append(line, shortCell(&r.cells[i], r.m.Unit))
			}
			table = append(table, line)
		}
	}
	return align(table)
}

func shortCell(f *figure, unit string) string {
	if !f.ok() {
		return shortStatus(f.cell)
	}
	t := value(f.value.Median, unit)
	if f.cost.OK() {
		t += " " + times(f.cost.Median)
	}
	switch {
	case f.verdict == stats.Noise:
		t += "≈"
	case f.verdict == stats.Unknown && f.cost.OK():
		t += "?"
	}
	return t
}

func align(table [][]string) string {
	width := make([]int, len(table[0]))
	for _, line := range table {
		for i, t := range line {
			width[i] = max(width[i], utf8.RuneCountInString(t))
		}
	}
	var b strings.Builder
	for _, line := range table {
		for i, t := range line {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(t))
			if i == 0 {
				fmt.Fprint(&b, t, pad)
				continue
			}
			fmt.Fprint(&b, "  ", pad, t)
		}
		b.WriteString("\n")
	}
	return b.String()
}
