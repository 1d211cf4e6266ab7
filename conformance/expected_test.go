package conformance

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// expectation is one line of expected.txt, expected-vm.txt or expected-nested.txt: a difference from the host's kernel that is known and accepted.
type expectation struct {
	reason string
	flaky  bool    // sometimes passes
	until  version // passes with this kernel and later ones, if one is named
}

// readExpected reads lines "family/case [flaky] [until KERNEL] reason"; '#' begins a comment.
func readExpected(path string) (map[string]expectation, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all := map[string]expectation{}
	in := bufio.NewScanner(f)
	for n := 1; in.Scan(); n++ {
		line, _, _ := strings.Cut(in.Text(), "#")
		name, reason, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		reason = strings.TrimSpace(reason)
		text, flaky := strings.CutPrefix(reason, "flaky ")
		e := expectation{flaky: flaky}
		good := true
		if rest, ok := strings.CutPrefix(text, "until "); ok {
			var kernel string
			kernel, text, _ = strings.Cut(rest, " ")
			e.until, good = parseVersion(kernel)
		}
		if e.reason = text; text == "" || !good || !strings.Contains(name, "/") {
			return nil, fmt.Errorf("%s:%d: want \"family/case [flaky] [until KERNEL] reason\", not %q", path, n, in.Text())
		}
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("%s:%d: %s stands there twice", path, n, name)
		}
		all[name] = e
	}
	return all, in.Err()
}
