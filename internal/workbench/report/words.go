package report

import (
	"fmt"
	"sort"
	"strings"

	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/stats"
)

// paragraph is a heading and the sentences that follow from the figures.
type paragraph struct {
	head  string
	lines []string
}

// question is a reader's question and the row that answers it best.
type question struct {
	head, what string
	rows       []string // the first that was measured counts
}

var questions = []question{
	{"Start-up", "starting a program", []string{"run-true/time", "start/total"}},
	{"I/O", "walking a tree of files", []string{"find/time", "find-cold/time"}},
	{"CPU", "computing", []string{"sysbench-cpu/rate"}},
	{"System calls", "a system call", []string{"calls/getppid", "calls/read"}},
	{"Memory", "an idle sandbox", []string{"idle/memory"}},
	{"Servers", "answering requests", []string{"redis/tcp-get", "nginx/rate"}},
}

// tradeOffs are the answers, question by question, then runtime by runtime.
func (m *model) tradeOffs() []paragraph {
	var out []paragraph
	for _, q := range questions {
		if p := m.answer(q); len(p.lines) > 0 {
			out = append(out, p)
		}
	}
	if p := m.isolation(); len(p.lines) > 0 {
		out = append(out, p)
	}
	for i, rt := range m.columns {
		out = append(out, m.portrait(i, rt))
	}
	return out
}

// isolation groups the runtimes by what stands between container and host.
func (m *model) isolation() paragraph {
	p := paragraph{head: "Isolation"}
	var walls []string
	who := map[string][]string{}
	for _, rt := range m.columns {
		if who[rt.Wall] == nil {
			walls = append(walls, rt.Wall)
		}
		who[rt.Wall] = append(who[rt.Wall], rt.Title)
	}
	for _, w := range walls {
		p.add("%s: %s.", capital(w), join(who[w]), w != "" && w != "not said")
	}
	return p
}

// answer ranks the runtimes on one row, in words.
func (m *model) answer(q question) paragraph {
	p := paragraph{head: q.head}
	var r *row
	for _, key := range q.rows {
		if r = m.find(key); r != nil && measured(r) > 0 {
			break
		}
	}
	if r == nil || measured(r) == 0 {
		return p
	}
	var same, dearer, cheaper, unsure []string
	var base string
	for _, f := range byCost(r) {
		switch {
		case !f.ok():
		case f.rt.Name == m.res.Baseline:
			base = fmt.Sprintf("%s: %s (%s)", f.rt.Title, value(f.value.Median, r.m.Unit), interval(f.value, r.m.Unit))
		case f.verdict == stats.Noise:
			same = append(same, f.rt.Title)
		case f.verdict == stats.Dearer:
			dearer = append(dearer, phrase(f))
		case f.verdict == stats.Cheaper:
			cheaper = append(cheaper, phrase(f))
		case f.cost.OK():
			unsure = append(unsure, phrase(f))
		}
	}
	subject := fmt.Sprintf("%s (%s)", capital(q.what), r.name())
	p.add("%s. %s.", subject, base, base != "")
	p.add("No difference from %s beyond the noise: %s.", m.baselineTitle(), join(same), len(same) > 0)
	p.add("Dearer than %s: %s.", m.baselineTitle(), join(dearer), len(dearer) > 0)
	p.add("Cheaper than %s: %s.", m.baselineTitle(), join(cheaper), len(cheaper) > 0)
	p.add("%s%s", m.bestWall(r), "", m.bestWall(r) != "")
	p.add("%sMeasured too few times for a verdict: %s.", "", join(unsure), len(unsure) > 0)
	return p
}

// bestWall names the cheapest of the runtimes that put a wall of their own
// between container and host, when the figures tell them apart.
func (m *model) bestWall(r *row) string {
	var walls []*figure
	for i := range r.cells {
		if f := &r.cells[i]; f.cost.OK() && f.verdict != stats.Unknown && isWall(f.rt) {
			walls = append(walls, f)
		}
	}
	if len(walls) < 2 {
		return ""
	}
	sort.SliceStable(walls, func(a, b int) bool { return walls[a].cost.Median < walls[b].cost.Median })
	first, second := walls[0], walls[1]
	if first.cost.Hi < second.cost.Lo {
		return fmt.Sprintf("Of the walls %s costs least.", first.rt.Title)
	}
	return fmt.Sprintf("Of the walls %s and %s cost least; their intervals overlap.", first.rt.Title, second.rt.Title)
}

// isWall: namespaces alone leave the host's kernel in reach.
func isWall(rt *results.Runtime) bool {
	return rt.Wall != "" && rt.Wall != "not said" && !strings.HasPrefix(rt.Wall, "none")
}

// add appends a sentence of two parts when there is something to say.
func (p *paragraph) add(format, a, b string, say bool) {
	if say {
		p.lines = append(p.lines, fmt.Sprintf(format, a, b))
	}
}

func phrase(f *figure) string { return f.rt.Title + " " + strings.TrimRight(costText(f), " ≈?") }

// byCost orders a row's cells from cheap to dear.
func byCost(r *row) []*figure {
	var out []*figure
	for i := range r.cells {
		out = append(out, &r.cells[i])
	}
	sort.SliceStable(out, func(a, b int) bool { return out[a].cost.Median < out[b].cost.Median })
	return out
}

func measured(r *row) int {
	n := 0
	for i := range r.cells {
		if r.cells[i].ok() {
			n++
		}
	}
	return n
}

// portrait says what one runtime costs and gives.
func (m *model) portrait(i int, rt *results.Runtime) paragraph {
	p := paragraph{head: rt.Title}
	p.add("Wall: %s.%s", rt.Wall, "", rt.Wall != "")
	p.add("%s%s", rt.Isolation, "", rt.Isolation != "")
	p.add("Needs of the host: %s%s", lower(rt.Needs), "", rt.Needs != "")
	if i == m.baseline || m.baseline < 0 {
		p.lines = append(p.lines, "It is what the others are measured against.")
		return p
	}
	var costs []costed
	free := 0
	for _, g := range m.groups {
		for _, r := range g.rows {
			f := &r.cells[i]
			switch f.verdict {
			case stats.Noise:
				free++
			case stats.Dearer, stats.Cheaper:
				costs = append(costs, costed{r, f})
			}
		}
	}
	p.add("%s%s", m.rangeOfCosts(i), "", m.rangeOfCosts(i) != "")
	sort.SliceStable(costs, func(a, b int) bool { return costs[a].f.cost.Median > costs[b].f.cost.Median })
	if free > 0 {
		p.lines = append(p.lines, fmt.Sprintf("On %s it does not differ from %s beyond the noise.", count(free, "figure"), m.baselineTitle()))
	}
	p.add("It costs most on %s%s.", extreme(costs, stats.Dearer), "", extreme(costs, stats.Dearer) != "")
	reverse(costs)
	p.add("It is cheaper than %s on %s.", m.baselineTitle(), extreme(costs, stats.Cheaper), extreme(costs, stats.Cheaper) != "")
	if n := m.unfit(rt); n > 0 {
		p.lines = append(p.lines, fmt.Sprintf("For %s it was too slow to be measured in its share of the time.", count(n, "workload")))
	}
	if n := m.failures(rt); n > 0 {
		p.lines = append(p.lines, fmt.Sprintf("It failed %s: see what was not measured.", count(n, "workload")))
	}
	return p
}

type costed struct {
	r *row
	f *figure
}

// extreme names the first three of a verdict.
func extreme(costs []costed, want stats.Verdict) string {
	var out []string
	for _, c := range costs {
		if c.f.verdict == want && len(out) < 3 {
			out = append(out, fmt.Sprintf("“%s” %s", c.r.name(), costText(c.f))) // a verdict: no mark
		}
	}
	return join(out)
}

func (m *model) failures(rt *results.Runtime) int {
	n := 0
	for _, c := range m.res.Cells {
		if c.Runtime == rt.Name && (c.Status == results.CellFailed || c.Status == results.CellHung) {
			n++
		}
	}
	return n
}

func reverse(c []costed) {
	for i, j := 0, len(c)-1; i < j; i, j = i+1, j-1 {
		c[i], c[j] = c[j], c[i]
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func lower(s string) string {
	r := []rune(s)
	if len(r) > 1 && r[1] >= 'a' && r[1] <= 'z' {
		return strings.ToLower(string(r[:1])) + string(r[1:])
	}
	return s
}
