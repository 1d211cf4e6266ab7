package policy

import (
	"fmt"
	"slices"
	"sort"
	"strings"
)

// Decision is what the policy says about one workload.
type Decision struct {
	Facts   *Facts
	Exempt  *Exemption // not judged at all
	Rule    *Rule      // nil: the default
	Class   *Class
	Because []string // what matched, in words
	Runtime *Runtime // what is recommended; nil when refused

	Have    *Runtime // what it would run on as it is; nil when not listed
	Refused string   // why the cluster would refuse it as it is, or ""
	Unknown []string // rules that would have matched by labels of the namespace which nobody told
}

// Decide finds the first rule that matches. It is what the rendered CEL does.
func (p *Policy) Decide(f *Facts) *Decision {
	d := &Decision{Facts: f, Class: p.class(p.Default)}
	for _, e := range p.Exempt {
		if f.Namespace == e.Namespace {
			d.Exempt = e
		}
	}
	for _, r := range p.Rules {
		because, ok := r.Match.holds(f)
		if ok {
			d.Rule, d.Class, d.Because = r, p.class(r.Class), because
			break
		}
		if !f.NamespaceKnown && len(r.Match.NamespaceLabels) > 0 {
			d.Unknown = append(d.Unknown, r.Name)
		}
	}
	d.Runtime = p.runtime(d.Class.Runtime)
	p.judge(d)
	return d
}

// judge says what admission does with the workload as it is.
func (p *Policy) judge(d *Decision) {
	if !d.Facts.RuntimeSaid {
		if d.Exempt == nil && d.Class.Refuse != "" {
			d.Refused = d.Class.Refuse
		}
		return
	}
	name := d.Facts.Runtime
	if name == "" {
		name = p.Absent
	}
	d.Have = p.runtime(name)
	switch {
	case d.Exempt != nil:
	case d.Class.Refuse != "":
		d.Refused = d.Class.Refuse
	case d.Have == nil:
		d.Refused = fmt.Sprintf("the policy knows no runtime %q, so nobody knows its wall", name)
	case d.Have.Wall.Strength() < d.Class.strength():
		d.Refused = fmt.Sprintf("the wall of %s is %s, and at least %s is needed", name, d.Have.Wall, d.Class.Wall)
	}
}

// condition is one field of a Match: whether it was given, whether it holds, and
// in words what made it so.
type condition struct {
	given, ok bool
	why       string
}

// holds tells whether every condition does, and in words which there are.
func (m *Match) holds(f *Facts) ([]string, bool) {
	var because []string
	for _, c := range m.conditions(f) {
		if c.given && !c.ok {
			return nil, false
		}
		if c.given {
			because = append(because, c.why)
		}
	}
	return because, true
}

func (m *Match) conditions(f *Facts) []condition {
	out := []condition{{len(m.Namespace) > 0, m.Namespace.match(f.Namespace), "namespace " + f.Namespace}}
	out = append(out, labelConditions("the namespace's label", m.NamespaceLabels, f.NamespaceLabels)...)
	out = append(out, labelConditions("label", m.Labels, f.Labels)...)
	out = append(out, labelConditions("annotation", m.Annotations, f.Annotations)...)
	return append(out,
		condition{len(m.ServiceAccount) > 0, m.ServiceAccount.match(f.ServiceAccount), "service account " + f.ServiceAccount},
		m.imageAll(f), m.imageAny(f), m.needs(f),
		some("capability", m.Capabilities, f.Capabilities, func(c string) bool { return c == "ALL" || slices.Contains(m.Capabilities, c) }),
		some("resource", m.Resources, f.Resources, m.Resources.match))
}

func labelConditions(what string, want map[string]Patterns, have map[string]string) []condition {
	var out []condition
	for _, key := range sortedKeys(want) {
		v, there := have[key]
		out = append(out, condition{true, there && want[key].match(v), fmt.Sprintf("%s %s=%s", what, key, v)})
	}
	return out
}

// some holds when one of the things the workload has fits.
func some(what string, want, have []string, fits func(string) bool) condition {
	c := condition{given: len(want) > 0}
	if i := slices.IndexFunc(have, fits); i >= 0 {
		c.ok, c.why = true, what+" "+have[i]
	}
	return c
}

func (m *Match) imageAll(f *Facts) condition {
	ok := len(f.Images) > 0 // no image is no image from there
	for _, image := range f.Images {
		ok = ok && begins(image, m.ImageAll)
	}
	return condition{len(m.ImageAll) > 0, ok, "every image: " + strings.Join(f.Images, ", ")}
}

func (m *Match) imageAny(f *Facts) condition {
	return some("image", m.ImageAny, f.Images, func(image string) bool { return begins(image, m.ImageAny) })
}

func begins(image string, prefixes Patterns) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(image, p) })
}

func (m *Match) needs(f *Facts) condition {
	c := condition{given: len(m.Needs) > 0}
	for _, n := range m.Needs {
		if where, asked := f.Needs[n]; asked {
			c.ok, c.why = true, fmt.Sprintf("needs %s (%s)", n, where)
			return c
		}
	}
	return c
}

// match tells whether one of the patterns is the text, or a beginning of it.
func (ps Patterns) match(s string) bool {
	return slices.ContainsFunc(ps, func(p string) bool {
		if prefix, ok := strings.CutSuffix(p, "*"); ok {
			return strings.HasPrefix(s, prefix)
		}
		return p == s
	})
}

func sortedKeys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	sort.Strings(out)
	return out
}
