package report

import (
	"fmt"
	"strings"
)

// Shell is a page in the report's manner, for the workbench's other pages: one
// file, no network, light or dark, tables that sort. head and body are HTML;
// nav are pairs of an anchor and its words.
func Shell(title, head string, nav [][2]string, body string) string {
	var b strings.Builder
	b.WriteString("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n" +
		"<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n" +
		"<meta name=\"color-scheme\" content=\"light dark\">\n" +
		"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n" +
		"<link rel=\"icon\" href=\"data:,\">\n")
	fmt.Fprintf(&b, "<title>%s</title>\n<style>\n%s</style>\n</head>\n<body>\n<header>\n<h1>%s</h1>\n%s\n<nav>", esc(title), pageCSS, esc(title), head)
	for _, n := range nav {
		fmt.Fprintf(&b, "<a href=\"%s\">%s</a> ", esc(n[0]), esc(n[1]))
	}
	b.WriteString("<button id=\"theme\" type=\"button\">Light or dark</button></nav>\n</header>\n<main>\n")
	b.WriteString(body)
	b.WriteString("</main>\n<script>\n" + pageJS + "</script>\n</body>\n</html>\n")
	return b.String()
}
