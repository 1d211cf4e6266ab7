package internal

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// skipKinds are the ways a reason for a skip may begin. Each says what to do about it:
// run as root; install or make what follows the semicolon; set or run what is named;
// or nothing, since it is the host's nature.
var skipKinds = regexp.MustCompile(`^"(needs root: |missing: .*%v|missing: .+; |on demand: |this host)`)

var skipCall = regexp.MustCompile(`\b[tb]\.Skip(?:f|Now)?\(([^\n]*)`)

// TestSkips: every skip in the tree says exactly what it lacks, so that the list
// behind `make test` tells who reads it what to do (scripts/testlist).
func TestSkips(t *testing.T) {
	seen := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") || d.Name() == "skips_test.go" {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, call := range skipCall.FindAllSubmatch(raw, -1) {
			seen++
			if !skipKinds.Match(call[1]) {
				t.Errorf("%s: Skip(%s: want a reason that begins as skipKinds has it", path, call[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Errorf("only %d skips were looked at", seen)
	}
}
