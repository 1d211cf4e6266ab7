package audit

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

const pageTitle = "What each wall leaves in reach"

// mdCell keeps a text inside its cell.
func mdCell(s string) string {
	return strings.NewReplacer("|", "\\|", "\n", " ", "<", "&lt;").Replace(s)
}

// Markdown is the whole audit.
func Markdown(r *Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n", pageTitle, r.subtitle())
	for _, s := range r.sections() {
		mdSection(&b, &s)
	}
	return b.String()
}

func mdSection(b *strings.Builder, s *section) {
	fmt.Fprintf(b, "\n## %s\n", s.title)
	if s.about != "" {
		fmt.Fprintf(b, "\n%s\n", mdCell(s.about))
	}
	if len(s.lines) > 0 {
		b.WriteString("\n")
		for _, l := range s.lines {
			fmt.Fprintf(b, "- %s\n", mdCell(l))
		}
	}
	mdTable(b, s.head, s.rows)
}

func mdTable(b *strings.Builder, head []string, rows [][]cell) {
	if len(rows) == 0 {
		return
	}
	b.WriteString("\n|")
	for _, h := range head {
		fmt.Fprintf(b, " %s |", mdCell(h))
	}
	b.WriteString("\n|" + strings.Repeat("---|", len(head)) + "\n")
	for _, row := range rows {
		b.WriteString("|")
		for _, c := range row {
			fmt.Fprintf(b, " %s |", mdCell(c.text))
		}
		b.WriteString("\n")
	}
}

// text is the short form for a terminal: no table of single calls.
func text(r *Record) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", r.subtitle())
	for _, s := range r.sections() {
		if s.long && !strings.HasPrefix(s.id, "rules-") {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", strings.ToUpper(s.title))
		if s.about != "" {
			wrap(&b, s.about, "  ")
		}
		if s.unshown != "" {
			wrap(&b, s.unshown, "  ")
		}
		for _, l := range s.lines {
			wrap(&b, l, "  - ")
		}
		if !s.long {
			textTable(&b, s.head, s.rows)
		}
	}
	return b.String()
}

// wrap writes a text in lines of at most 100 columns.
func wrap(b *strings.Builder, s, indent string) {
	col := 0
	for _, w := range strings.Fields(s) {
		n := utf8.RuneCountInString(w)
		switch {
		case col == 0 || col+1+n > 100:
			if col > 0 {
				b.WriteString("\n")
			}
			b.WriteString(indent)
			col = len(indent)
			indent = strings.Repeat(" ", len(indent))
		default:
			b.WriteString(" ")
			col++
		}
		b.WriteString(w)
		col += n
	}
	b.WriteString("\n")
}

func textTable(b *strings.Builder, head []string, rows [][]cell) {
	if len(rows) == 0 {
		return
	}
	width := make([]int, len(head))
	for i, h := range head {
		width[i] = utf8.RuneCountInString(h)
	}
	for _, row := range rows {
		for i, c := range row {
			width[i] = max(width[i], min(utf8.RuneCountInString(c.text), 44))
		}
	}
	line := func(texts []string) {
		var l strings.Builder
		for i, t := range texts {
			l.WriteString("  " + t + strings.Repeat(" ", max(0, width[i]-utf8.RuneCountInString(t))))
		}
		b.WriteString(strings.TrimRight(l.String(), " ") + "\n")
	}
	line(head)
	for _, row := range rows {
		var t []string
		for _, c := range row {
			t = append(t, c.text)
		}
		line(t)
	}
}
