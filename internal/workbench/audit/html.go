package audit

import (
	"fmt"
	"html"
	"strings"

	"bulkhead.dev/bulkhead/internal/workbench/report"
)

var esc = html.EscapeString

// HTML is the page: one file, beside the bench report's index.html.
func HTML(r *Record) string {
	var b strings.Builder
	var nav [][2]string
	for _, s := range r.sections() {
		nav = append(nav, [2]string{"#" + s.id, shortTitle(s)})
		htmlSection(&b, &s)
	}
	head := fmt.Sprintf("<p>%s Beside it: <a href=\"index.html\">what each runtime costs</a>, if bulkhead bench was run.</p>", esc(r.subtitle()))
	return report.Shell(pageTitle, head, nav, b.String())
}

var shortTitles = map[string]string{"verdict": "Verdict", "counts": "Counts", "reach": "Host calls left", "wide": "Risky arguments", "entries": "Other entries",
	"calls": "Every call", "profile": "Profile", "notes": "Notes", "rules-guest": "Guest's filter", "rules-sentry": "Sentry's filter", "rules-gofer": "Gofer's filter",
	"rules-hypervisor": "Hypervisor's filter", "rules-virtiofsd": "virtiofsd's filter", "rules-monitor": "VM monitor's filter"}

func shortTitle(s section) string {
	if t := shortTitles[s.id]; t != "" {
		return t
	}
	return s.title
}

func htmlSection(b *strings.Builder, s *section) {
	fmt.Fprintf(b, "<section id=\"%s\">\n<h2>%s</h2>\n", esc(s.id), esc(s.title))
	if s.about != "" {
		fmt.Fprintf(b, "<p class=\"note\">%s</p>\n", esc(s.about))
	}
	switch {
	case s.id == "verdict":
		b.WriteString("<div class=\"cards\">\n")
		for _, l := range s.lines {
			title, rest, _ := strings.Cut(l, " — ")
			word, rest, _ := strings.Cut(rest, ". ")
			fmt.Fprintf(b, "<article><h3>%s</h3><p><b>%s.</b> %s</p></article>\n", esc(title), esc(strings.ToUpper(word[:1])+word[1:]), esc(rest))
		}
		b.WriteString("</div>\n")
	case len(s.lines) > 0:
		b.WriteString("<ul>\n")
		for _, l := range s.lines {
			fmt.Fprintf(b, "<li>%s</li>\n", esc(l))
		}
		b.WriteString("</ul>\n")
	}
	htmlTable(b, s)
	b.WriteString("</section>\n")
}

func htmlTable(b *strings.Builder, s *section) {
	if len(s.rows) == 0 {
		return
	}
	kind := "sortable flow"
	if s.id == "calls" || s.id == "wide" {
		kind = "matrix sortable"
	}
	fmt.Fprintf(b, "<div class=\"scroll\"><table class=\"%s\"><thead><tr>", kind)
	for _, h := range s.head {
		fmt.Fprintf(b, "<th scope=\"col\">%s</th>", esc(h))
	}
	b.WriteString("</tr></thead><tbody>\n")
	for _, row := range s.rows {
		b.WriteString("<tr>")
		for i, c := range row {
			htmlCell(b, c, i == 0)
		}
		b.WriteString("</tr>\n")
	}
	b.WriteString("</tbody></table></div>\n")
}

func htmlCell(b *strings.Builder, c cell, first bool) {
	if first {
		fmt.Fprintf(b, "<th scope=\"row\">%s</th>", esc(c.text))
		return
	}
	class := c.class
	if len(c.text) > 40 {
		class = strings.TrimSpace(class + " wide")
	}
	b.WriteString("<td")
	if class != "" {
		fmt.Fprintf(b, " class=\"%s\"", class)
	}
	if c.sort != 0 {
		fmt.Fprintf(b, " data-v=\"%g\"", c.sort)
	}
	fmt.Fprintf(b, ">%s</td>", esc(c.text))
}
