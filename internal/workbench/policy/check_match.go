package policy

import (
	"reflect"
	"slices"
)

func (c *checker) match(i int, m *Match) {
	if m == nil {
		return
	}
	if reflect.ValueOf(*m).IsZero() {
		c.bad(at("rules", i, "match"), "no condition: what matches nothing else gets the class named by default")
		return
	}
	c.patterns(at("rules", i, "match", "namespace"), m.Namespace)
	c.patterns(at("rules", i, "match", "service-account"), m.ServiceAccount)
	c.patterns(at("rules", i, "match", "resources"), m.Resources)
	for field, labels := range map[string]map[string]Patterns{"namespace-labels": m.NamespaceLabels, "labels": m.Labels, "annotations": m.Annotations} {
		for key, values := range labels {
			path := at("rules", i, "match", field, key)
			if !labelKey.MatchString(key) {
				c.bad(path, "%q is no name of a label or annotation", key)
			}
			c.patterns(path, values)
		}
	}
}

func (c *checker) patterns(path []any, ps Patterns) {
	for j, s := range ps {
		if !pattern.MatchString(s) {
			c.bad(append(slices.Clone(path), j), "%q: a * stands at the end only, and control characters nowhere", s)
		}
	}
}

// anchored says whether the match depends on what only who runs the cluster can
// set: a namespace's name or its labels.
func (m *Match) anchored() bool {
	for _, s := range m.Namespace {
		if s == "*" {
			return false
		}
	}
	return len(m.Namespace) > 0 || len(m.NamespaceLabels) > 0
}

// covers says for certain that m matches all that n does: each of m's conditions
// is one of n's, word for word or wider.
func (m *Match) covers(n *Match) bool {
	if m == nil || n == nil || reflect.ValueOf(*m).IsZero() {
		return false
	}
	lists := [][2]Patterns{{m.Namespace, n.Namespace}, {m.ServiceAccount, n.ServiceAccount}, {m.ImageAll, n.ImageAll}, {m.ImageAny, n.ImageAny},
		{m.Resources, n.Resources}, {texts(m.Needs), texts(n.Needs)}, {m.Capabilities, n.Capabilities}}
	for _, l := range lists {
		if !wider(l[0], l[1]) {
			return false
		}
	}
	for _, l := range [][2]map[string]Patterns{{m.NamespaceLabels, n.NamespaceLabels}, {m.Labels, n.Labels}, {m.Annotations, n.Annotations}} {
		for key, values := range l[0] {
			if !wider(values, l[1][key]) {
				return false
			}
		}
	}
	return true
}

// wider says that the alternatives a hold wherever the alternatives b do.
func wider(a, b Patterns) bool {
	if len(a) == 0 {
		return true // no condition
	}
	for _, s := range b {
		if !slices.Contains(a, s) {
			return false
		}
	}
	return len(b) > 0
}

func texts[T ~string](in []T) Patterns {
	var out Patterns
	for _, s := range in {
		out = append(out, string(s))
	}
	return out
}
