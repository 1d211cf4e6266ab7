package internal

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestPromises: each promise of SECURITY.md names what holds it, and each test
// and file that it names exists.
func TestPromises(t *testing.T) {
	raw, err := os.ReadFile("../SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string][]string{} // test to the directories that have it
	decl := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return nil // somebody's temporary file
		}
		for _, m := range decl.FindAllStringSubmatch(string(src), -1) {
			declared[m[1]] = append(declared[m[1]], filepath.ToSlash(filepath.Dir(path)))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, promises, ok := strings.Cut(string(raw), "\n## Promises")
	promises, _, ok2 := strings.Cut(promises, "\n## ")
	if !ok || !ok2 {
		t.Fatal("SECURITY.md has no promises")
	}
	rows := 0
	for _, line := range strings.Split(promises, "\n") {
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if !strings.HasPrefix(line, "|") || len(cells) != 2 || strings.HasPrefix(line, "|---") || strings.HasPrefix(line, "| promise") {
			continue
		}
		rows++
		holders(t, line, cells[1], declared)
	}
	if rows < 10 {
		t.Errorf("only %d promises were found", rows)
	}
}

var quoted = regexp.MustCompile("`([^`]+)`")

// holders checks what the second cell of a promise names: `DIR: TestName`,
// `DIR: TestPrefix…`, `TestName` (of any directory), a directory, a make target.
func holders(t *testing.T, line, cell string, declared map[string][]string) {
	named := 0
	for _, m := range quoted.FindAllStringSubmatch(cell, -1) {
		dir, test, _ := strings.Cut(m[1], ": ")
		if strings.HasPrefix(dir, "Test") || strings.HasPrefix(dir, "Fuzz") {
			dir, test = "", dir
		}
		switch {
		case test == "" && strings.HasPrefix(dir, "make "):
			named++
			continue
		case test == "":
			if strings.Contains(dir, " ") {
				continue // a command
			}
			if _, err := os.Stat("../" + dir); err != nil {
				t.Errorf("%q, which holds a promise, is not there:\n%s", dir, line)
			}
			named++
			continue
		}
		prefix, open := strings.CutSuffix(test, "…")
		found := false
		for name, dirs := range declared {
			if name != test && !(open && strings.HasPrefix(name, prefix)) {
				continue
			}
			for _, d := range dirs {
				found = found || dir == "" || d == "../"+dir
			}
		}
		if !found {
			t.Errorf("there is no test %s:\n%s", m[1], line)
		}
		named++
	}
	if named == 0 {
		t.Errorf("nothing holds this promise:\n%s", line)
	}
}
