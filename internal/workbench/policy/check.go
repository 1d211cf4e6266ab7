package policy

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

//go:embed default.yaml
var defaultPolicy []byte

// DefaultFile is the name that messages give to the embedded policy.
const DefaultFile = "policy.yaml (built in)"

// Default is the policy that this program brings along.
func Default() (*Policy, error) { return Parse(DefaultFile, defaultPolicy) }

// readLimited refuses what is no plain file or too large, before reading it.
func readLimited(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Mode().IsRegular() && st.Size() > maxInput {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are read", path, st.Size(), maxInput)
	}
	if st.IsDir() {
		return nil, fmt.Errorf("%s is a directory: name a file", path)
	}
	return os.ReadFile(path)
}

// Parse reads and checks a policy; file is for the messages. Every mistake is
// reported, one per line, as FILE:LINE:COLUMN: MESSAGE.
func Parse(file string, data []byte) (*Policy, error) {
	p, err := decode(file, data)
	if err != nil {
		return nil, err
	}
	c := &checker{p: p}
	c.check()
	if err := errors.Join(c.errs...); err != nil {
		return nil, err
	}
	p.fill()
	return p, nil
}

// fill sets what was left out.
func (p *Policy) fill() {
	if p.Name == "" {
		p.Name = "bulkhead"
	}
	for _, r := range p.Runtimes {
		if r.Handler == "" {
			r.Handler = r.Name
		}
		if r.Binary == "" {
			r.Binary = "/usr/local/bin/" + r.Name
		}
		if len(r.Report) == 0 {
			r.Report = []string{r.Name}
		}
	}
}

// checker looks for what the form alone does not show.
type checker struct {
	p    *Policy
	errs []error
}

func (c *checker) bad(path []any, format string, args ...any) {
	c.errs = append(c.errs, mistake(c.p.file, c.p.pos.at(path...), format, args...))
}

func (c *checker) warn(path []any, format string, args ...any) {
	c.p.warn = append(c.p.warn, mistake(c.p.file, c.p.pos.at(path...), format, args...).Error())
}

func at(path ...any) []any { return path }

// forms are what texts may look like, by the form tag of a field.
var forms = map[string]struct {
	re   *regexp.Regexp
	want string
}{
	"name":       {regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`), "lower-case letters, digits and dashes, at most 63"},
	"path":       {regexp.MustCompile(`^/[A-Za-z0-9._/+-]{1,255}$`), "an absolute path"},
	"memory":     {regexp.MustCompile(`^[1-9][0-9]{0,8}(Ki|Mi|Gi)$`), "a size such as 24Mi"},
	"cpu":        {regexp.MustCompile(`^[1-9][0-9]{0,5}m?$`), "CPUs such as 10m or 1"},
	"capability": {regexp.MustCompile(`^[A-Z][A-Z_]{2,40}$`), "a name such as SYS_ADMIN, without CAP_"},
	"image":      {regexp.MustCompile(`^[a-z0-9][a-z0-9._/:@-]*[/:@]$`), "a beginning in lower case that ends in /, : or @, so that no other registry or repository begins with it"},
}

// label is what a label's name or value may hold; a pattern may end in *.
var (
	labelKey = regexp.MustCompile(`^([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$`)
	pattern  = regexp.MustCompile(`^[^*\x00-\x1f]*\*?$`)
)

func (c *checker) check() {
	if c.p.Version != Version {
		c.bad(at("version"), "version %d: this program reads %d", c.p.Version, Version)
	}
	c.texts(reflect.ValueOf(c.p).Elem(), nil)
	c.names("runtimes", len(c.p.Runtimes), func(i int) string { return c.p.Runtimes[i].Name })
	c.names("classes", len(c.p.Classes), func(i int) string { return c.p.Classes[i].Name })
	c.names("rules", len(c.p.Rules), func(i int) string { return c.p.Rules[i].Name })
	if c.p.runtime(c.p.Absent) == nil {
		c.bad(at("absent"), "no runtime is called %q: there are %s", c.p.Absent, strings.Join(c.runtimeNames(), ", "))
	}
	c.runtimes()
	c.classes()
	c.exemptions()
	c.rules()
}

// texts holds every text against the form that its field has.
func (c *checker) texts(v reflect.Value, path []any) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			c.texts(v.Elem(), path)
		}
	case reflect.Slice:
		for i := range v.Len() {
			c.texts(v.Index(i), append(slices.Clone(path), i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if name := f.Tag.Get("yaml"); name != "" {
				p := append(slices.Clone(path), name)
				c.form(v.Field(i), f.Tag.Get("form"), p)
				c.texts(v.Field(i), p)
			}
		}
	}
}

func (c *checker) form(v reflect.Value, form string, path []any) {
	if form == "" {
		return
	}
	if v.Kind() == reflect.Slice {
		for i := range v.Len() {
			c.form(v.Index(i), form, append(slices.Clone(path), i))
		}
		return
	}
	if f := forms[form]; v.String() != "" && !f.re.MatchString(v.String()) {
		c.bad(path, "%q: want %s", v.String(), f.want)
	}
}

func (c *checker) names(list string, n int, name func(int) string) {
	seen := map[string]int{}
	for i := range n {
		if first, twice := seen[name(i)]; twice {
			c.bad(at(list, i, "name"), "%q stands twice in %s, first on line %d", name(i), list, c.p.pos.at(list, first, "name").line)
			continue
		}
		seen[name(i)] = i
	}
}

func (c *checker) runtimeNames() []string {
	var out []string
	for _, r := range c.p.Runtimes {
		out = append(out, r.Name)
	}
	return out
}

func (c *checker) runtimes() {
	for i, r := range c.p.Runtimes {
		for k, v := range r.NodeSelector {
			if !labelKey.MatchString(k) {
				c.bad(at("runtimes", i, "node-selector", k), "%q is no name of a label", k)
			}
			if strings.Contains(v, "*") || !pattern.MatchString(v) {
				c.bad(at("runtimes", i, "node-selector", k), "%q: a node's label is compared exactly", v)
			}
		}
	}
}

var costRow = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]*/[a-z0-9][a-z0-9._-]*$`)

func (c *checker) classes() {
	if c.p.class(c.p.Default) == nil {
		c.bad(at("default"), "no class is called %q: there are %s", c.p.Default, strings.Join(c.classNames(), ", "))
	}
	for i, k := range c.p.Classes {
		for j, row := range k.Cost {
			if !costRow.MatchString(row) {
				c.bad(at("classes", i, "cost", j), "%q: want WORKLOAD/METRIC of the bench report, such as run-true/time", row)
			}
		}
		if k.Refuse != "" {
			if k.Wall != "" || k.Runtime != "" {
				c.bad(at("classes", i, "refuse"), "class %q is refused: it has neither wall nor runtime", k.Name)
			}
			continue
		}
		if k.Wall == "" || k.Runtime == "" {
			c.bad(at("classes", i), "class %q: want wall and runtime, or refuse with what its author is told", k.Name)
			continue
		}
		r := c.p.runtime(k.Runtime)
		if r == nil {
			c.bad(at("classes", i, "runtime"), "no runtime is called %q: there are %s", k.Runtime, strings.Join(c.runtimeNames(), ", "))
			continue
		}
		if r.Wall.Strength() < k.Wall.Strength() {
			c.bad(at("classes", i, "runtime"), "runtime %q has the wall %s, which is weaker than the class's %s", r.Name, r.Wall, k.Wall)
		}
	}
}

func (c *checker) classNames() []string {
	var out []string
	for _, k := range c.p.Classes {
		out = append(out, k.Name)
	}
	return out
}

func (c *checker) exemptions() {
	seen := map[string]bool{}
	for i, e := range c.p.Exempt {
		if seen[e.Namespace] {
			c.bad(at("exempt", i, "namespace"), "%q is exempt twice", e.Namespace)
		}
		seen[e.Namespace] = true
	}
}

func (c *checker) rules() {
	used := map[string]bool{c.p.Default: true}
	floor := c.p.class(c.p.Default)
	for i, r := range c.p.Rules {
		used[r.Class] = true
		k := c.p.class(r.Class)
		if k == nil {
			c.bad(at("rules", i, "class"), "no class is called %q: there are %s", r.Class, strings.Join(c.classNames(), ", "))
		}
		c.match(i, r.Match)
		if r.Match == nil || reflect.ValueOf(*r.Match).IsZero() || k == nil || floor == nil {
			continue
		}
		lowers := k.strength() < floor.strength()
		switch {
		case lowers && !r.Match.anchored() && r.Unanchored == "":
			c.bad(at("rules", i, "match"), "rule %q lowers the wall from %q's to %q's on what the workload's author writes: "+
				"add namespace or namespace-labels, or say why in unanchored", r.Name, c.p.Default, r.Class)
		case r.Unanchored != "" && (!lowers || r.Match.anchored()):
			c.bad(at("rules", i, "unanchored"), "rule %q needs no excuse: it %s", r.Name,
				map[bool]string{true: "names namespaces", false: "lowers no wall"}[lowers])
		}
		for j := range i {
			if c.p.Rules[j].Match.covers(r.Match) {
				c.warn(at("rules", i), "rule %q never decides: %q on line %d matches all that it does", r.Name, c.p.Rules[j].Name, c.p.pos.at("rules", j).line)
				break
			}
		}
	}
	for i, k := range c.p.Classes {
		if !used[k.Name] {
			c.warn(at("classes", i), "no rule leads to class %q", k.Name)
		}
	}
}
