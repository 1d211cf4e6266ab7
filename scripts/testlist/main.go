// Command testlist reads what `go test -json` writes and shows it as go test does
// without -json: a line for each package, and the output of what failed. Behind it
// stand all tests that were skipped, each with its reason.
//
//	go test -json ./... | go run ./scripts/testlist [-strict]
//
// With -strict, which is for root behind scripts/setup-test.sh, a test that was
// skipped for want of root or of something that can be installed counts as failed.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
)

// event is a line of test2json.
type event struct {
	Action      string
	Package     string
	ImportPath  string // of a build's output
	Test        string
	Output      string
	FailedBuild string
}

// list is what has been seen.
type list struct {
	w       io.Writer
	output  map[string][]string // by package and test, until it has ended
	failed  int
	skipped []string
	undue   int // skips that -strict does not let pass
}

func main() {
	strict := flag.Bool("strict", false, "what could be installed may not be missing")
	flag.Parse()
	l := &list{w: os.Stdout, output: map[string][]string{}}
	in := bufio.NewReader(os.Stdin)
	for {
		line, err := in.ReadString('\n')
		if line != "" {
			l.line(line)
		}
		if err != nil {
			break
		}
	}
	l.end(*strict)
	if l.failed > 0 || *strict && l.undue > 0 {
		os.Exit(1)
	}
}

// line takes one line; what is no event, a compiler's message, passes.
func (l *list) line(line string) {
	var e event
	if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		fmt.Fprint(l.w, line)
		return
	}
	key := e.Package + " " + e.Test
	switch e.Action {
	case "output":
		if e.Test == "" && strings.HasPrefix(e.Output, "ok ") {
			fmt.Fprint(l.w, e.Output)
			return
		}
		l.output[key] = append(l.output[key], e.Output)
	case "build-output":
		fmt.Fprint(l.w, e.Output)
	case "fail":
		l.failed++
		fmt.Fprint(l.w, strings.Join(l.output[key], ""))
		delete(l.output, key)
	case "skip":
		if e.Test != "" {
			l.skip(e.Package, e.Test, l.output[key])
		} else {
			fmt.Fprint(l.w, strings.Join(l.output[key], "")) // no test files
		}
		delete(l.output, key)
	case "pass":
		delete(l.output, key)
	}
}

// place is where t.Skip was called, in front of the reason.
var place = regexp.MustCompile(`^\s*\w+\.go:\d+: `)

// due are reasons that make test takes care of.
var due = regexp.MustCompile(`^(needs root|missing): `)

func (l *list) skip(pkg, test string, output []string) {
	reason := "no reason was given"
	for _, o := range output {
		if at := place.FindString(o); at != "" {
			reason = strings.TrimSpace(o[len(at):])
		}
	}
	if due.MatchString(reason) {
		l.undue++
	}
	l.skipped = append(l.skipped, fmt.Sprintf("%s %s: %s", pkg, test, reason))
}

func (l *list) end(strict bool) {
	fmt.Fprintf(l.w, "skipped: %d\n", len(l.skipped))
	for _, s := range l.skipped {
		fmt.Fprintln(l.w, "  "+s)
	}
	if strict && l.undue > 0 {
		fmt.Fprintf(l.w, "FAIL: %d of them lack what root could install or make\n", l.undue)
	}
}
