package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// variants are the ways in which a family is run; those with a directory are for the families of files only.
var variants = []struct {
	name      string
	static    bool
	directory string // where the cases work; the scratch volume when empty
	native    bool   // whether the host is asked with the same directory
}{
	{name: "dynamic", native: true},
	{name: "static", static: true, native: true},
	{name: "tmpfs", directory: "/dev/shm", native: true},
	{name: "overlay", directory: "/var/tmp"},
}

var fileFamilies = map[string]bool{"open": true, "files_io": true, "files_meta": true, "links": true, "xattr": true, "locks": true,
	"dirs": true, "inotify": true, "splice": true, "mmap": true}

var base string // every directory of this run is below it

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	syscall.Umask(0o022)
	if err := becomeSubreaper(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "conform")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	base = dir
	return m.Run()
}

func nativeOnly() bool { return os.Getenv("CONFORM_NATIVE_ONLY") == "1" }

// wall gives the sandbox that the tests measure.
func wall(t *testing.T) sandbox {
	t.Helper()
	binary := os.Getenv("BULKHEAD")
	if binary == "" {
		binary = filepath.Join("..", "bin", "bulkhead")
	}
	abs, err := filepath.Abs(binary)
	if err == nil {
		_, err = os.Stat(abs)
	}
	if err != nil {
		t.Fatalf("no bulkhead to test: %v (`make build` makes bin/bulkhead; or name one in BULKHEAD, or set CONFORM_NATIVE_ONLY=1)", err)
	}
	return sandbox{binary: abs, base: base}
}

func jobs() chan struct{} {
	n, err := strconv.Atoi(os.Getenv("CONFORM_JOBS"))
	if err != nil || n < 1 {
		n = 2
	}
	return make(chan struct{}, n)
}

// chosen is CONFORM_RUN, a pattern over "family/case" and over the scripts' names.
func chosen(t *testing.T) *regexp.Regexp {
	t.Helper()
	re, err := regexp.Compile(os.Getenv("CONFORM_RUN"))
	if err != nil {
		t.Fatalf("CONFORM_RUN: %v", err)
	}
	return re
}

// tally collects the results of all families.
type tally struct {
	mu                                        sync.Mutex
	passed, skipped, broken, expected, failed int
	seen                                      map[string]bool // expected differences that were run …
	differ                                    map[string]bool // … and those that differed
	company                                   []string        // failed among others, passed alone
}

func TestGuests(t *testing.T) {
	bin := filepath.Join(base, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	programs, err := buildGuests(bin, !testing.Short())
	if err != nil {
		t.Fatal(err)
	}
	expected, err := readExpected("expected.txt")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, p := range programs {
		for _, c := range p.cases {
			known[p.family+"/"+c] = true
		}
	}
	for name := range expected {
		if !known[name] {
			t.Errorf("expected.txt names %s, which no program has", name)
		}
	}
	var s sandbox
	if !nativeOnly() {
		s = wall(t)
	}
	re, room, sum := chosen(t), jobs(), &tally{seen: map[string]bool{}, differ: map[string]bool{}}
	began := time.Now()
	t.Run("all", func(t *testing.T) {
		for _, v := range variants {
			for _, p := range programs {
				if p.static != v.static || v.directory != "" && (testing.Short() || !fileFamilies[p.family]) {
					continue
				}
				var names []string
				for _, c := range p.cases {
					if re.MatchString(p.family + "/" + c) {
						names = append(names, c)
					}
				}
				if len(names) == 0 || v.directory != "" && !v.native && nativeOnly() {
					continue
				}
				t.Run(p.family+"-"+v.name, func(t *testing.T) {
					t.Parallel()
					room <- struct{}{}
					defer func() { <-room }()
					var args []string
					if v.directory != "" {
						args = []string{"-d", v.directory}
					}
					oracleArgs := args
					if !v.native {
						oracleArgs = nil
					}
					judge(t, s, p, v.name, names, oracleArgs, args, expected, sum)
				})
			}
		}
	})
	for name := range sum.seen {
		if !sum.differ[name] && !expected[name].flaky {
			t.Errorf("%s stands in expected.txt (%s) but passes now: remove it from the list", name, expected[name].reason)
		}
	}
	sort.Strings(sum.company)
	for _, c := range sum.company {
		fmt.Printf("conformance: %s\n", c)
	}
	fmt.Printf("conformance: %d cases: %d pass, %d skipped on the host too, %d expected differences, %d broken on this host, %d FAIL, %.0f s\n",
		len(known), sum.passed, sum.skipped, sum.expected, sum.broken, sum.failed, time.Since(began).Seconds())
}

// judge runs one variant of one family in both places and compares.
func judge(t *testing.T, s sandbox, p *program, variant string, names, oracleArgs, args []string, expected map[string]expectation, sum *tally) {
	oracle, _ := runCases(native{}, p, names, oracleArgs, base)
	again(native{}, p, oracle, oracleArgs)
	var asked []string
	sum.mu.Lock()
	for _, c := range names {
		switch v := oracle[c]; v.state {
		case passed:
			asked = append(asked, c)
		case skipped:
			sum.skipped++
			t.Logf("%s/%s (%s) is skipped on this host: %s", p.family, c, variant, v.detail)
		default:
			sum.broken++
			if nativeOnly() {
				t.Errorf("%s/%s (%s) is broken on this host: %s", p.family, c, variant, v.detail)
			} else {
				fmt.Printf("conformance: %s/%s (%s) is broken on this host: %s\n", p.family, c, variant, v.detail)
			}
		}
	}
	if nativeOnly() {
		sum.passed += len(asked)
	}
	sum.mu.Unlock()
	if nativeOnly() || len(asked) == 0 {
		return
	}
	got, left := runCases(s, p, asked, args, base)
	company := again(s, p, got, args)
	for _, l := range left {
		t.Errorf("%s (%s) left behind: %s", p.family, variant, l)
	}
	sum.mu.Lock()
	defer sum.mu.Unlock()
	for c, why := range company {
		sum.company = append(sum.company, p.family+"/"+c+" ("+variant+") failed in company, passed alone: "+why)
	}
	for _, c := range asked {
		name := p.family + "/" + c
		v := got[c]
		e, listed := expected[name]
		if listed {
			sum.seen[name] = true
		}
		switch {
		case v.state == passed:
			sum.passed++
		case listed:
			sum.expected++
			sum.differ[name] = true
		case v.state == skipped:
			sum.failed++
			t.Errorf("%s (%s) passes on the host but is skipped behind the wall: %s", name, variant, v.detail)
		default:
			sum.failed++
			t.Errorf("%s (%s): %s", name, variant, v.detail)
		}
		_ = e
	}
}

// again runs each failed case once more, alone, and keeps that verdict; it gives those that pass now, with what they said at first. A machine that
// has lost its sandbox altogether is not asked again.
func again(p place, prog *program, got map[string]verdict, args []string) map[string]string {
	fixed := map[string]string{}
	for c, v := range got {
		if v.state != failed || strings.HasPrefix(v.detail, "hang") && len(got) > 1 && strings.Contains(v.detail, "over its") {
			continue
		}
		once, _ := runCases(p, prog, []string{c}, args, base)
		if once[c].state == passed || once[c].state == skipped {
			got[c] = once[c]
			fixed[c] = v.detail
		}
	}
	return fixed
}
