package report

import (
	"fmt"
	"strings"

	"bulkhead.dev/bulkhead/internal/workbench/results"
)

const method = "Workloads run on all runtimes in turn, round after round, after a warm-up that does not count. " +
	"A figure is the median of its runs with its 95 %% interval by order statistics (below six runs: their whole range). " +
	"× is the ratio to %s, run by run, turned so that more than 1 means dearer: slower, fewer per second, more memory; " +
	"≈ marks a difference within the noise, that is, whose interval holds 1, and ? fewer than five runs, too few to tell. " +
	"All runtimes run the same root file system, read-only, with the same mounts and capabilities, and without a seccomp profile."

// Markdown is the matrix as a document.
func Markdown(res *results.Results) string {
	m := newModel(res)
	var b strings.Builder
	fmt.Fprintf(&b, "# Container runtimes side by side\n\n%s, %s measurement%s.\n\n", res.Started.UTC().Format("2 January 2006, 15:04 UTC"), res.Mode, partly(res))
	m.mdShort(&b)
	mdMachine(&b, res)
	mdRuntimes(&b, res)
	b.WriteString("## The matrix\n\n" + fmt.Sprintf(method, m.baselineTitle()) + "\n")
	for _, g := range m.groups {
		m.mdGroup(&b, g)
	}
	b.WriteString("\n## What it means\n")
	for _, p := range m.tradeOffs() {
		fmt.Fprintf(&b, "\n**%s.** %s\n", mdText(p.head), mdText(strings.Join(p.lines, " ")))
	}
	m.mdGaps(&b)
	mdNotes(&b, m.notes())
	return b.String()
}

func partly(res *results.Results) string {
	if res.Complete {
		return ""
	}
	return ", not complete"
}

// cellText keeps hostile or long text from breaking a table.
func cellText(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	s = strings.NewReplacer("|", "\\|", "<", "&lt;").Replace(s)
	return s
}

// mdText is for text outside tables.
func mdText(s string) string { return strings.ReplaceAll(s, "<", "&lt;") }

// mdShort is one row per workload: the baseline's figure and the others' ratios.
func (m *model) mdShort(b *strings.Builder) {
	rows := m.overviewRows()
	if len(rows) == 0 || m.baseline < 0 {
		return
	}
	fmt.Fprintf(b, "## In short\n\nThe figure of %s, and what the others cost as a multiple of it.\n\n| | %s", cellText(m.baselineTitle()), cellText(m.baselineTitle()))
	for i, c := range m.columns {
		if i != m.baseline {
			fmt.Fprintf(b, " | %s", cellText(c.Title))
		}
	}
	b.WriteString(" |\n|---|" + strings.Repeat("---|", len(m.columns)) + "\n")
	for _, r := range rows {
		base := &r.cells[m.baseline]
		fmt.Fprintf(b, "| %s | %s (%s)", cellText(r.name()), value(base.value.Median, r.m.Unit), interval(base.value, r.m.Unit))
		for i := range r.cells {
			if f := &r.cells[i]; i != m.baseline {
				fmt.Fprintf(b, " | %s", orElse(costText(f), "*"+shortStatus(f.cell)+"*"))
			}
		}
		b.WriteString(" |\n")
	}
	b.WriteString("\n")
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func mdMachine(b *strings.Builder, res *results.Results) {
	b.WriteString("## The machine\n\n| | |\n|---|---|\n")
	for _, f := range machineFacts(res) {
		fmt.Fprintf(b, "| %s | %s |\n", f[0], cellText(f[1]))
	}
	b.WriteString("\n")
}

// machineFacts is the machine's description, fact by fact.
func machineFacts(res *results.Results) [][2]string {
	mc := res.Machine
	cpu := fmt.Sprintf("%s, %s", mc.CPU, count(mc.CPUs, "CPU"))
	if mc.Governor != "" {
		cpu += ", governor " + mc.Governor
	}
	all := [][2]string{
		{"CPU", cpu},
		{"Memory", value(float64(mc.MemoryBytes), "B")},
		{"Kernel", mc.Kernel},
		{"System", mc.OS},
		{"Cgroups", mc.Cgroups},
		{"Virtualisation", mc.Virtualisation},
		{"KVM", mc.KVM},
		{"File system", mc.Filesystem},
		{"Root file system of the containers", res.RootFS},
		{"Measured", measuredFor(res)},
		{"Load when it began", fmt.Sprintf("%.2f", mc.Load)},
	}
	var out [][2]string
	for _, f := range all {
		if f[1] != "" {
			out = append(out, f)
		}
	}
	return out
}

// measuredFor says how long the measurement took, and what was asked for.
func measuredFor(res *results.Results) string {
	if res.Elapsed == 0 {
		return ""
	}
	t := fmt.Sprintf("for %.0f minutes", max(1, res.Elapsed/60))
	if res.Limit > 0 {
		t += fmt.Sprintf(" of at most %.0f", max(1, res.Limit/60))
	}
	return t + fmt.Sprintf(", %s at most", count(res.Rounds, "round"))
}

func mdRuntimes(b *strings.Builder, res *results.Results) {
	b.WriteString("## The runtimes\n\n| runtime | wall | version | command | |\n|---|---|---|---|---|\n")
	for _, r := range res.Runtimes {
		state := string(r.Status)
		if r.Why != "" {
			state += ": " + r.Why
		}
		fmt.Fprintf(b, "| %s | %s | %s | `%s` | %s |\n", cellText(r.Title), cellText(r.Wall), cellText(r.Version), cellText(strings.Join(r.Command, " ")), cellText(state))
	}
	b.WriteString("\n")
}

func (m *model) mdGroup(b *strings.Builder, g *group) {
	fmt.Fprintf(b, "\n### %s\n\n|", capital(g.name))
	for _, c := range m.columns {
		fmt.Fprintf(b, " | %s", cellText(c.Title))
	}
	b.WriteString(" |\n|---|" + strings.Repeat("---|", len(m.columns)) + "\n")
	for _, r := range g.rows {
		fmt.Fprintf(b, "| %s", cellText(r.name()))
		for i := range r.cells {
			fmt.Fprintf(b, " | %s", cellText(mdCell(&r.cells[i], r.m.Unit)))
		}
		b.WriteString(" |\n")
	}
}

func mdCell(f *figure, unit string) string {
	if !f.ok() {
		return "*" + shortStatus(f.cell) + "*"
	}
	t := fmt.Sprintf("%s (%s)", value(f.value.Median, unit), spreadText(f, unit))
	if c := costText(f); c != "" {
		t += "; **" + c + "**"
	}
	return t
}

func (m *model) mdGaps(b *strings.Builder) {
	gaps := m.gaps()
	if len(gaps) == 0 {
		return
	}
	b.WriteString("\n## What was not measured\n\n| runtime | workload | why |\n|---|---|---|\n")
	for _, g := range gaps {
		fmt.Fprintf(b, "| %s | %s | %s |\n", cellText(g.what), cellText(g.where), cellText(g.why))
	}
}

func mdNotes(b *strings.Builder, notes []string) {
	if len(notes) == 0 {
		return
	}
	b.WriteString("\n## Notes\n\n")
	for _, n := range notes {
		fmt.Fprintf(b, "- %s\n", cellText(n))
	}
}
