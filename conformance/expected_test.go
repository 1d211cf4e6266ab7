package conformance

import (
	"bufio"
	"fmt"
	"os"
	"strings"
)

// expectation is one line of expected.txt: a difference from the host's kernel that is known and accepted.
type expectation struct {
	reason string
	flaky  bool // sometimes passes
}

// readExpected reads lines "family/case [flaky] reason"; '#' begins a comment.
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
		if text == "" || !strings.Contains(name, "/") {
			return nil, fmt.Errorf("%s:%d: want \"family/case [flaky] reason\", not %q", path, n, in.Text())
		}
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("%s:%d: %s stands there twice", path, n, name)
		}
		all[name] = expectation{text, flaky}
	}
	return all, in.Err()
}
