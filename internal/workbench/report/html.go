package report

import (
	_ "embed"
	"fmt"
	"html"
	"strings"

	"bulkhead.dev/bulkhead/internal/workbench/results"
	"bulkhead.dev/bulkhead/internal/workbench/stats"
)

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

var esc = html.EscapeString

// HTML is the page: one file that needs no network.
func HTML(res *results.Results) string {
	m := newModel(res)
	var b strings.Builder
	b.WriteString("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n" +
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
		"<meta name=\"color-scheme\" content=\"light dark\">\n" +
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n" +
		"<link rel=\"icon\" href=\"data:,\">\n<title>Container runtimes side by side</title>\n<style>\n" + pageCSS + "</style>\n</head>\n<body>\n")
	m.htmlHead(&b)
	b.WriteString("<main>\n")
	m.htmlOverview(&b)
	m.htmlMeaning(&b)
	m.htmlMatrix(&b)
	m.htmlPlots(&b)
	m.htmlGaps(&b)
	m.htmlFigures(&b)
	m.htmlMachine(&b)
	b.WriteString("</main>\n<script>\n" + pageJS + "</script>\n</body>\n</html>\n")
	return b.String()
}

func (m *model) htmlHead(b *strings.Builder) {
	res := m.res
	fmt.Fprintf(b, "<header>\n<h1>Container runtimes side by side</h1>\n<p>%s, %s measurement%s. %s, %s, kernel %s.</p>\n",
		res.Started.UTC().Format("2 January 2006, 15:04 UTC"), esc(res.Mode), partly(res), esc(res.Machine.CPU), count(res.Machine.CPUs, "CPU"), esc(res.Machine.Kernel))
	b.WriteString("<nav><a href=\"#overview\">Overview</a> <a href=\"#meaning\">What it means</a> <a href=\"#matrix\">Matrix</a> <a href=\"#plots\">Plots</a> <a href=\"#gaps\">Not measured</a> <a href=\"#figures\">All figures</a> <a href=\"#machine\">Machine and method</a> <button id=\"theme\" type=\"button\">Light or dark</button></nav>\n</header>\n")
}

func (m *model) htmlOverview(b *strings.Builder) {
	svg := m.overview()
	if svg == "" {
		return
	}
	fmt.Fprintf(b, "<section id=\"overview\">\n<h2>In one picture</h2>\n<p class=\"note\">What each workload costs, as a multiple of %s, with the interval; more than 1 is dearer. Hollow: within the noise, or too few runs to tell.</p>\n<figure>%s</figure>\n</section>\n", esc(m.baselineTitle()), svg)
}

func (m *model) htmlMeaning(b *strings.Builder) {
	b.WriteString("<section id=\"meaning\">\n<h2>What it means</h2>\n<div class=\"cards\">\n")
	for _, p := range m.tradeOffs() {
		fmt.Fprintf(b, "<article><h3>%s</h3><p>%s</p></article>\n", esc(p.head), esc(strings.Join(p.lines, " ")))
	}
	b.WriteString("</div>\n</section>\n")
}

func (m *model) htmlMatrix(b *strings.Builder) {
	b.WriteString("<section id=\"matrix\">\n<h2>The matrix</h2>\n")
	fmt.Fprintf(b, "<p class=\"note\">Median, its interval and number of runs, and the ratio to %s with its interval; ≈ is within the noise, ? too few runs to tell. A tap on a column's head sorts by it.</p>\n", esc(m.baselineTitle()))
	for _, g := range m.groups {
		fmt.Fprintf(b, "<h3>%s</h3>\n<div class=\"scroll\"><table class=\"matrix sortable\">\n<thead><tr><th scope=\"col\">workload</th>", esc(capital(g.name)))
		for _, c := range m.columns {
			fmt.Fprintf(b, "<th scope=\"col\">%s</th>", esc(c.Title))
		}
		b.WriteString("</tr></thead>\n<tbody>\n")
		for _, r := range g.rows {
			fmt.Fprintf(b, "<tr><th scope=\"row\">%s</th>", esc(r.name()))
			for i := range r.cells {
				htmlCell(b, &r.cells[i], r.m.Unit)
			}
			b.WriteString("</tr>\n")
		}
		b.WriteString("</tbody></table></div>\n")
	}
	b.WriteString("</section>\n")
}

func htmlCell(b *strings.Builder, f *figure, unit string) {
	if !f.ok() {
		fmt.Fprintf(b, "<td class=\"none\" title=\"%s\">%s</td>", esc(whyNot(f.cell)), esc(shortStatus(f.cell)))
		return
	}
	sortBy := f.value.Median
	if f.cost.OK() {
		sortBy = f.cost.Median
	}
	fmt.Fprintf(b, "<td class=\"%s\" data-v=\"%g\"><b>%s</b><small>%s</small>", heat(f), sortBy, esc(value(f.value.Median, unit)), esc(spreadText(f, unit)))
	if c := costText(f); c != "" {
		fmt.Fprintf(b, "<span>%s</span>", esc(c))
	}
	b.WriteString("</td>")
}

// spreadText is a figure's interval and its number of runs.
func spreadText(f *figure, unit string) string {
	if f.value.N < 2 {
		return runs(f.value.N)
	}
	return interval(f.value, unit) + " · " + runs(f.value.N)
}

// heat is the class that tints a cell by its cost.
func heat(f *figure) string {
	switch {
	case !f.cost.OK():
		return "base"
	case f.verdict == stats.Noise || f.verdict == stats.Unknown && f.cost.Median < 1.1:
		return "h0"
	case f.cost.Median < 1:
		return "hg"
	case f.cost.Median <= 1.5:
		return "h1"
	case f.cost.Median <= 4:
		return "h2"
	case f.cost.Median <= 12:
		return "h3"
	}
	return "h4"
}

func (m *model) htmlPlots(b *strings.Builder) {
	b.WriteString("<section id=\"plots\">\n<h2>Plots</h2>\n<p class=\"note\">Every run is a dot; the band is the interval of the median, the line the median. The dashed line is ")
	fmt.Fprintf(b, "%s's median. Scales that span much are logarithmic and say so.</p>\n", esc(m.baselineTitle()))
	for _, g := range m.groups {
		fmt.Fprintf(b, "<h3>%s</h3>\n<div class=\"plots\">\n", esc(capital(g.name)))
		for _, r := range g.rows {
			svg := m.plot(r)
			if svg == "" {
				continue
			}
			fmt.Fprintf(b, "<figure><figcaption><b>%s</b>%s</figcaption>%s</figure>\n", esc(r.name()), esc(direction(r)), svg)
		}
		b.WriteString("</div>\n")
	}
	b.WriteString("</section>\n")
}

// direction says which side of a plot is the good one.
func direction(r *row) string {
	var all []float64
	for i := range r.cells {
		for _, s := range r.cells[i].samples {
			all = append(all, s.Value)
		}
	}
	t := " less is better"
	if r.m.Better == "higher" {
		t = " more is better"
	}
	if newAxis(all).log {
		t += ", logarithmic"
	}
	return t
}

func (m *model) htmlGaps(b *strings.Builder) {
	b.WriteString("<section id=\"gaps\">\n<h2>What was not measured, and why</h2>\n")
	gaps := m.gaps()
	if len(gaps) == 0 {
		b.WriteString("<p>Nothing: every runtime ran every workload.</p>\n</section>\n")
		return
	}
	b.WriteString("<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th scope=\"col\">runtime</th><th scope=\"col\">workload</th><th scope=\"col\">why</th></tr></thead><tbody>\n")
	for _, g := range gaps {
		fmt.Fprintf(b, "<tr><td>%s</td><td>%s</td><td class=\"wide\">%s</td></tr>\n", esc(g.what), esc(g.where), esc(g.why))
	}
	b.WriteString("</tbody></table></div>\n</section>\n")
}

// htmlFigures is the long table: one line per figure, sortable by every column.
func (m *model) htmlFigures(b *strings.Builder) {
	b.WriteString("<section id=\"figures\">\n<h2>All figures</h2>\n<div class=\"scroll\"><table class=\"sortable\" id=\"all\"><thead><tr>")
	for _, h := range []string{"workload", "runtime", "median", "interval", "confidence", "least–most", "runs", "×", "interval of ×", "verdict"} {
		fmt.Fprintf(b, "<th scope=\"col\">%s</th>", h)
	}
	b.WriteString("</tr></thead><tbody>\n")
	for _, g := range m.groups {
		for _, r := range g.rows {
			for i := range r.cells {
				if f := &r.cells[i]; f.ok() {
					m.htmlFigure(b, r, f, i == m.baseline)
				}
			}
		}
	}
	b.WriteString("</tbody></table></div>\n</section>\n")
}

func (m *model) htmlFigure(b *strings.Builder, r *row, f *figure, base bool) {
	factor, _ := scaleOf(f.value.Median, r.m.Unit)
	fmt.Fprintf(b, "<tr><td>%s</td><td>%s</td><td data-v=\"%g\">%s</td><td data-v=\"%g\">%s</td><td data-v=\"%g\">%.0f %%</td><td data-v=\"%g\">%s–%s</td><td data-v=\"%d\">%d</td>",
		esc(r.name()), esc(f.rt.Title), f.value.Median, esc(value(f.value.Median, r.m.Unit)), f.value.Hi-f.value.Lo, esc(interval(f.value, r.m.Unit)),
		f.value.Confidence, 100*f.value.Confidence, f.value.Max-f.value.Min, number(f.value.Min*factor, r.m.Unit), number(f.value.Max*factor, r.m.Unit), f.value.N, f.value.N)
	if base || !f.cost.OK() {
		b.WriteString("<td></td><td></td><td>")
		if base {
			b.WriteString("baseline")
		}
		b.WriteString("</td></tr>\n")
		return
	}
	fmt.Fprintf(b, "<td data-v=\"%g\">%s</td><td data-v=\"%g\">%s–%s</td><td>%s</td></tr>\n", f.cost.Median, times(f.cost.Median),
		f.cost.Hi-f.cost.Lo, digits(f.cost.Lo), digits(f.cost.Hi), verdictText(f.verdict))
}

func verdictText(v stats.Verdict) string {
	switch v {
	case stats.Noise:
		return "within the noise"
	case stats.Cheaper:
		return "cheaper"
	case stats.Dearer:
		return "dearer"
	}
	return "too few runs"
}

func (m *model) htmlMachine(b *strings.Builder) {
	b.WriteString("<section id=\"machine\">\n<h2>Machine and method</h2>\n")
	fmt.Fprintf(b, "<p>%s</p>\n<div class=\"scroll\"><table><tbody>\n", esc(fmt.Sprintf(method, m.baselineTitle())))
	for _, f := range machineFacts(m.res) {
		fmt.Fprintf(b, "<tr><th scope=\"row\">%s</th><td class=\"wide\">%s</td></tr>\n", esc(f[0]), esc(f[1]))
	}
	b.WriteString("</tbody></table></div>\n<h3>Runtimes</h3>\n<div class=\"scroll\"><table class=\"sortable\"><thead><tr><th scope=\"col\">runtime</th><th scope=\"col\">wall</th><th scope=\"col\">version</th><th scope=\"col\">command</th><th scope=\"col\">state</th></tr></thead><tbody>\n")
	for _, r := range m.res.Runtimes {
		fmt.Fprintf(b, "<tr><td>%s</td><td>%s</td><td>%s</td><td><code>%s</code></td><td>%s</td></tr>\n", esc(r.Title), esc(r.Wall), esc(r.Version), esc(strings.Join(r.Command, " ")), esc(string(r.Status)))
	}
	b.WriteString("</tbody></table></div>\n<h3>Workloads</h3>\n<div class=\"scroll\"><table><tbody>\n")
	for _, w := range m.res.Workloads {
		fmt.Fprintf(b, "<tr><th scope=\"row\">%s</th><td class=\"wide\">%s</td></tr>\n", esc(w.Title), esc(w.About))
	}
	b.WriteString("</tbody></table></div>\n")
	if notes := m.notes(); len(notes) > 0 {
		b.WriteString("<h3>Notes</h3>\n<ul>\n")
		for _, n := range notes {
			fmt.Fprintf(b, "<li>%s</li>\n", esc(n))
		}
		b.WriteString("</ul>\n")
	}
	b.WriteString("</section>\n")
}
