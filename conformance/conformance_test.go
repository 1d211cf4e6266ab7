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

// variant is a way in which a family is run; those with a directory are for the families of files only.
type variant struct {
	name      string
	static    bool
	directory string // where the cases work; the scratch volume when empty
	native    bool   // whether the host is asked with the same directory
}

var variants = []variant{
	{name: "dynamic", native: true},
	{name: "static", static: true, native: true},
	{name: "tmpfs", directory: "/dev/shm", native: true},
	{name: "overlay", directory: "/var/tmp"},
}

var fileFamilies = map[string]bool{"open": true, "opened": true, "files_io": true, "files_meta": true, "links": true, "xattr": true, "locks": true,
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

// guests builds the programs, once.
var guests = sync.OnceValues(func() ([]*program, error) {
	bin := filepath.Join(base, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		return nil, err
	}
	return buildGuests(bin, !testing.Short())
})

func TestGuests(t *testing.T) {
	c := newCampaign(t, "expected.txt", variants)
	if !nativeOnly() {
		c.place = wall(t)
	}
	c.skip = func(p *program, v variant) bool {
		return v.directory != "" && (testing.Short() || !fileFamilies[p.family]) || v.directory != "" && !v.native && nativeOnly()
	}
	c.run(t)
}

// variantsVM are those of the VM wall: the container's root first, whose writes stay in the guest's memory; then the volume.
var variantsVM = []variant{
	{name: "root", directory: "/var/tmp"},
	{name: "static", static: true, directory: "/var/tmp"},
	{name: "tmpfs", directory: "/dev/shm", native: true},
	{name: "volume"},
}

// quickVM are the families that a short time under a translated processor is enough for.
var quickVM = map[string]bool{"creds": true, "mounts": true, "sessions": true, "ttys": true, "seccomp": true, "signals": true, "wait": true}

// TestGuestsVM is TestGuests behind the VM wall, where the guest's kernel is Linux itself, of another version: a subset, all with
// BULKHEAD_VM_FULL=1 (make test-vm).
func TestGuestsVM(t *testing.T) {
	needMachine(t)
	m := &machine{s: wall(t)}
	defer m.end()
	c := newCampaign(t, "expected-vm.txt", variantsVM)
	c.place, c.room = m, make(chan struct{}, 1)
	c.forKernel(t, m)
	c.subset = !everythingVM()
	c.skip = func(p *program, v variant) bool {
		if !everythingVM() {
			return !quickVM[p.family] || v.name != "root"
		}
		return v.name != "root" && v.name != "static" && !fileFamilies[p.family]
	}
	c.run(t)
	m.end()
	for _, l := range m.left {
		t.Errorf("the VM left behind: %s", l)
	}
}

// campaign runs all families in one place and compares with the host.
type campaign struct {
	place    place // nil when only the host is asked
	programs []*program
	variants []variant
	skip     func(*program, variant) bool
	list     string // the file of expected differences
	expected map[string]expectation
	subset   bool // of the variants: what passes in those may still differ in others
	re       *regexp.Regexp
	room     chan struct{}
	sum      *tally
}

func newCampaign(t *testing.T, list string, variants []variant) *campaign {
	t.Helper()
	programs, err := guests()
	if err != nil {
		t.Fatal(err)
	}
	expected, err := readExpected(list)
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
			t.Errorf("%s names %s, which no program has", list, name)
		}
	}
	return &campaign{
		programs: programs, variants: variants, list: list, expected: expected, re: chosen(t), room: jobs(),
		sum: &tally{seen: map[string]bool{}, differ: map[string]bool{}},
	}
}

// forKernel takes off the list what the machine's kernel is new enough for.
func (c *campaign) forKernel(t *testing.T, m *machine) {
	t.Helper()
	if err := m.up(); err != nil {
		t.Fatal(err)
	}
	for name, e := range c.expected {
		if e.until != (version{}) && !m.kernel.less(e.until) {
			delete(c.expected, name)
		}
	}
}

func (c *campaign) run(t *testing.T) {
	began, sum := time.Now(), c.sum
	known := map[string]bool{}
	t.Run("all", func(t *testing.T) {
		for _, v := range c.variants {
			for _, p := range c.programs {
				if p.static != v.static || c.skip(p, v) {
					continue
				}
				var names []string
				for _, name := range p.cases {
					if c.re.MatchString(p.family + "/" + name) {
						names = append(names, name)
						known[p.family+"/"+name] = true
					}
				}
				if len(names) == 0 {
					continue
				}
				t.Run(p.family+"-"+v.name, func(t *testing.T) {
					t.Parallel()
					c.room <- struct{}{}
					defer func() { <-c.room }()
					c.judge(t, p, v, names)
				})
			}
		}
	})
	for name := range sum.seen {
		if e := c.expected[name]; !sum.differ[name] && !e.flaky && !c.subset {
			t.Errorf("%s stands in %s (%s) but passes now: remove it from the list", name, c.list, e.reason)
		}
	}
	sort.Strings(sum.company)
	for _, l := range sum.company {
		fmt.Printf("conformance: %s\n", l)
	}
	fmt.Printf("conformance: %s: %d cases: %d pass, %d skipped on the host too, %d expected differences, %d broken on this host, %d FAIL, %.0f s\n",
		t.Name(), len(known), sum.passed, sum.skipped, sum.expected, sum.broken, sum.failed, time.Since(began).Seconds())
}

// oracles keeps what the host answered: more than one wall is compared with it.
var oracles sync.Map

func oracle(p *program, names, args []string) map[string]verdict {
	key := fmt.Sprint(p.path, names, args)
	if v, ok := oracles.Load(key); ok {
		return v.(map[string]verdict)
	}
	got, _ := runCases(native{}, p, names, args, base)
	again(native{}, p, got, args)
	oracles.Store(key, got)
	return got
}

// judge runs one variant of one family in both places and compares.
func (c *campaign) judge(t *testing.T, p *program, v variant, names []string) {
	var args, oracleArgs []string
	if v.directory != "" {
		args = []string{"-d", v.directory}
	}
	if v.native {
		oracleArgs = args
	}
	answers, sum := oracle(p, names, oracleArgs), c.sum
	var asked []string
	sum.mu.Lock()
	for _, name := range names {
		switch a := answers[name]; a.state {
		case passed:
			asked = append(asked, name)
		case skipped:
			sum.skipped++
			t.Logf("%s/%s (%s) is skipped on this host: %s", p.family, name, v.name, a.detail)
		default:
			sum.broken++
			if nativeOnly() {
				t.Errorf("%s/%s (%s) is broken on this host: %s", p.family, name, v.name, a.detail)
			} else {
				fmt.Printf("conformance: %s/%s (%s) is broken on this host: %s\n", p.family, name, v.name, a.detail)
			}
		}
	}
	if c.place == nil {
		sum.passed += len(asked)
	}
	sum.mu.Unlock()
	if c.place == nil || len(asked) == 0 {
		return
	}
	got, left := runCases(c.place, p, asked, args, base)
	company := again(c.place, p, got, args)
	for _, l := range left {
		t.Errorf("%s (%s) left behind: %s", p.family, v.name, l)
	}
	sum.mu.Lock()
	defer sum.mu.Unlock()
	for name, why := range company {
		sum.company = append(sum.company, p.family+"/"+name+" ("+v.name+") failed in company, passed alone: "+why)
	}
	for _, short := range asked {
		name := p.family + "/" + short
		_, listed := c.expected[name]
		if listed {
			sum.seen[name] = true
		}
		switch a := got[short]; {
		case a.state == passed:
			sum.passed++
		case listed:
			sum.expected++
			sum.differ[name] = true
		case a.state == skipped:
			sum.failed++
			t.Errorf("%s (%s) passes on the host but is skipped behind the wall: %s", name, v.name, a.detail)
		default:
			sum.failed++
			t.Errorf("%s (%s): %s", name, v.name, a.detail)
		}
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
