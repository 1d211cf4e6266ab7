package policy

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// The decision in CEL, as a ValidatingAdmissionPolicy evaluates it. A variable is
// evaluated when it is first used, so what no rule asks for costs nothing. Each
// rule is a variable rule_N; variables.rule is the name of the first that holds.
//
// https://kubernetes.io/docs/reference/using-api/cel/

// variable is one of the policy object's variables.
type variable struct{ Name, Expression string }

// subject is how a kind of object holds its pod.
type subject struct {
	name string // of the policy object
	pod  string // path of the pod or its template
}

var (
	subjectPods      = subject{"pods", "object"}
	subjectTemplates = subject{"templates", "object.spec.template"}
	subjectCronJobs  = subject{"cronjobs", "object.spec.jobTemplate.spec.template"}
)

// variables are the facts, the rules and the decision.
func (p *Policy) variables(s subject) []variable {
	out := []variable{
		{"spec", s.pod + ".spec"},
		{"labels", optional(s.pod+".metadata.labels", "{}")},
		{"annotations", optional(s.pod+".metadata.annotations", "{}")},
		{"nslabels", optional("namespaceObject.metadata.labels", "{}")},
		{"account", "has(variables.spec.serviceAccountName) && variables.spec.serviceAccountName != '' ? variables.spec.serviceAccountName : 'default'"},
		{"init", optional("variables.spec.initContainers", "[]")},
		{"ephemeral", optional("variables.spec.ephemeralContainers", "[]")},
	}
	if slices.ContainsFunc(p.Rules, func(r *Rule) bool { return len(r.Match.ImageAll)+len(r.Match.ImageAny) > 0 }) {
		out = append(out, imageVariables...)
	}
	for _, n := range needs {
		if p.asksFor(n.need) {
			out = append(out, variable{needVariable(n.need), celNeeds[n.need]})
		}
	}
	for i, r := range p.Rules {
		out = append(out, variable{ruleVariable(i), r.Match.cel()})
	}
	return append(out, p.decisionVariables()...)
}

// asksFor tells whether a rule looks at the need.
func (p *Policy) asksFor(n Need) bool {
	return slices.ContainsFunc(p.Rules, func(r *Rule) bool { return slices.Contains(r.Match.Needs, n) })
}

func needVariable(n Need) string { return "asks_" + strings.ReplaceAll(string(n), "-", "_") }

func ruleVariable(i int) string { return fmt.Sprintf("rule_%d", i+1) }

// optional is the value at a path of fields, or what to take when one is absent.
func optional(path, otherwise string) string {
	parts := strings.Split(path, ".")
	var has []string
	for i := 2; i < len(parts); i++ {
		if p := strings.Join(parts[:i+1], "."); parts[i] != "spec" {
			has = append(has, "has("+p+")")
		}
	}
	return strings.Join(has, " && ") + " ? " + path + " : " + otherwise
}

// imageVariables are normalImage, step by step.
var imageVariables = []variable{
	{"written", strings.Join([]string{"variables.spec.containers", "variables.init", "variables.ephemeral"}, imageOf+" + ") + imageOf},
	{"hosted", "variables.written.map(i, !i.contains('/') ? 'docker.io/library/' + i : " +
		"i.startsWith('localhost/') || i.split('/')[0].contains('.') || i.split('/')[0].contains(':') ? i : 'docker.io/' + i)"},
	{"renamed", "variables.hosted.map(i, i.startsWith('index.docker.io/') ? i.substring(6) : i)"},
	{"images", "variables.renamed.map(i, i.startsWith('docker.io/') && i.split('/').size() == 2 ? 'docker.io/library/' + i.substring(10) : i)"},
}

const imageOf = ".map(c, has(c.image) ? c.image.lowerAscii() : '')"

// decisionVariables come after the rules'.
func (p *Policy) decisionVariables() []variable {
	var rule strings.Builder
	classes := []string{"'': " + quote(p.Default)}
	for i, r := range p.Rules {
		fmt.Fprintf(&rule, "variables.%s ? %s :\n", ruleVariable(i), quote(r.Name))
		classes = append(classes, quote(r.Name)+": "+quote(r.Class))
	}
	rule.WriteString("''")
	var needs, runtimes, have []string
	for _, c := range p.Classes {
		needs = append(needs, fmt.Sprintf("%s: %d", quote(c.Name), c.strength()))
		runtimes = append(runtimes, quote(c.Name)+": "+quote(c.Runtime))
	}
	have = append(have, fmt.Sprintf("'': %d", p.runtime(p.Absent).Wall.Strength()))
	for _, r := range p.Runtimes {
		have = append(have, fmt.Sprintf("%s: %d", quote(r.Name), r.Wall.Strength()))
	}
	return []variable{
		{"rule", rule.String()},
		{"class", table(classes) + "[variables.rule]"},
		{"need", table(needs) + "[variables.class]"},
		{"runtime", "has(variables.spec.runtimeClassName) ? variables.spec.runtimeClassName : ''"},
		{"walls", table(have)},
		{"have", "variables.runtime in variables.walls ? variables.walls[variables.runtime] : -1"},
		{"advice", table(runtimes) + "[variables.class]"},
	}
}

func table(rows []string) string { return "{" + strings.Join(rows, ", ") + "}" }

// quote writes a text as CEL does.
func quote(s string) string {
	if strings.ContainsAny(s, "'\\\n\r\t") || strconv.Quote(s) != `"`+s+`"` {
		return strconv.QuoteToASCII(s)
	}
	return "'" + s + "'"
}

// admitted is the expression that must be true.
const admitted = "variables.have >= variables.need"

// refusalMessage tells who is refused why, and what to do.
func (p *Policy) refusalMessage() string {
	var refuse []string
	for _, c := range p.Classes {
		if c.Refuse != "" {
			refuse = append(refuse, quote(c.Name)+": "+quote(c.Refuse))
		}
	}
	by := "'class ' + variables.class + (variables.rule == '' ? ' (by default)' : ' (rule ' + variables.rule + ')')"
	weak := by + " + ' needs the wall ' + ['none', 'sentry', 'vm'][variables.need] + ' at least; ' +\n" +
		"(variables.runtime == '' ? 'no runtimeClassName' : 'runtimeClassName ' + variables.runtime) +\n" +
		"(variables.have < 0 ? ' is not known to the policy' : ' gives ' + ['none', 'sentry', 'vm'][variables.have]) +\n" +
		"': set runtimeClassName: ' + variables.advice"
	if len(refuse) == 0 {
		return weak
	}
	return "variables.need == " + strconv.Itoa(refusal) + " ? " + by + " + ' is refused: ' +\n" + table(refuse) + "[variables.class] :\n" + weak
}

// cel is the match as one expression.
func (m *Match) cel() string {
	var and []string
	add := func(given bool, e string) {
		if given {
			and = append(and, e)
		}
	}
	add(len(m.Namespace) > 0, m.Namespace.cel("namespaceObject.metadata.name"))
	for _, l := range []struct {
		variable string
		want     map[string]Patterns
	}{{"nslabels", m.NamespaceLabels}, {"labels", m.Labels}, {"annotations", m.Annotations}} {
		for _, key := range sortedKeys(l.want) {
			v := "variables." + l.variable
			and = append(and, quote(key)+" in "+v+" && "+l.want[key].cel(v+"["+quote(key)+"]"))
		}
	}
	add(len(m.ServiceAccount) > 0, m.ServiceAccount.cel("variables.account"))
	add(len(m.ImageAll) > 0, "variables.images.size() > 0 && variables.images.all(i, "+prefixes(m.ImageAll, "i")+")")
	add(len(m.ImageAny) > 0, "variables.images.exists(i, "+prefixes(m.ImageAny, "i")+")")
	if len(m.Needs) > 0 {
		var or []string
		for _, n := range m.Needs {
			or = append(or, "variables."+needVariable(n))
		}
		and = append(and, "("+strings.Join(or, " || ")+")")
	}
	if len(m.Capabilities) > 0 {
		names := []string{"'ALL'", "'CAP_ALL'"}
		for _, c := range m.Capabilities {
			names = append(names, quote(c), quote("CAP_"+c))
		}
		sort.Strings(names)
		and = append(and, "("+anyContainer("has(c.securityContext) && has(c.securityContext.capabilities) && "+
			"has(c.securityContext.capabilities.add) &&\n  c.securityContext.capabilities.add.exists(x, x.upperAscii() in\n  ["+
			strings.Join(names, ", ")+"])")+")")
	}
	add(len(m.Resources) > 0, "("+anyContainer(limits+"c.resources.limits.exists(r, "+extended+" && "+m.Resources.cel("r")+")")+")")
	return strings.Join(and, " &&\n")
}

// cel compares a text with the patterns.
func (ps Patterns) cel(text string) string {
	var or, exact []string
	for _, p := range ps {
		prefix, begins := strings.CutSuffix(p, "*")
		switch {
		case !begins:
			exact = append(exact, quote(p))
		case prefix == "":
			return "true"
		default:
			or = append(or, text+".startsWith("+quote(prefix)+")")
		}
	}
	switch len(exact) {
	case 0:
	case 1:
		or = append([]string{text + " == " + exact[0]}, or...)
	default:
		or = append([]string{text + " in [" + strings.Join(exact, ", ") + "]"}, or...)
	}
	if len(or) == 1 {
		return or[0]
	}
	return "(" + strings.Join(or, " || ") + ")"
}

func prefixes(ps Patterns, text string) string {
	var or []string
	for _, p := range ps {
		or = append(or, text+".startsWith("+quote(p)+")")
	}
	return strings.Join(or, " || ")
}

// anyContainer holds when the predicate over c does for a container of any kind.
// The three lists have three types, so they cannot be one.
func anyContainer(predicate string) string {
	var or []string
	for _, list := range []string{"variables.spec.containers", "variables.init", "variables.ephemeral"} {
		or = append(or, list+".exists(c, "+predicate+")")
	}
	return strings.Join(or, " ||\n")
}

const (
	limits   = "has(c.resources) && has(c.resources.limits) && "
	extended = "r.contains('/') && !r.startsWith('kubernetes.io/')"
)

// celNeeds are the needs, each as an expression.
var celNeeds = map[Need]string{
	NeedHostNetwork: "has(variables.spec.hostNetwork) && variables.spec.hostNetwork",
	NeedHostPID:     "has(variables.spec.hostPID) && variables.spec.hostPID",
	NeedHostIPC:     "has(variables.spec.hostIPC) && variables.spec.hostIPC",
	NeedHostPath:    "has(variables.spec.volumes) && variables.spec.volumes.exists(v, has(v.hostPath))",
	NeedSysctls: "has(variables.spec.securityContext) && has(variables.spec.securityContext.sysctls) && " +
		"variables.spec.securityContext.sysctls.size() > 0",
	NeedHostPort:   anyContainer("has(c.ports) && c.ports.exists(p, has(p.hostPort) && p.hostPort != 0)"),
	NeedPrivileged: anyContainer("has(c.securityContext) && has(c.securityContext.privileged) && c.securityContext.privileged"),
	NeedUnmaskedProc: anyContainer("has(c.securityContext) && has(c.securityContext.procMount) && " +
		"c.securityContext.procMount == 'Unmasked'"),
	NeedUnconfined: "(has(variables.spec.securityContext) && " + unconfinedOf("variables.spec.securityContext") + ") ||\n" +
		anyContainer("has(c.securityContext) && "+unconfinedOf("c.securityContext")),
	NeedDevice: "(has(variables.spec.resourceClaims) && variables.spec.resourceClaims.size() > 0) ||\n" +
		anyContainer("has(c.volumeDevices) && c.volumeDevices.size() > 0") + " ||\n" +
		anyContainer(limits+"c.resources.limits.exists(r, "+extended+")"),
}

func unconfinedOf(context string) string {
	return "((has(" + context + ".seccompProfile) && " + context + ".seccompProfile.type == 'Unconfined') || " +
		"(has(" + context + ".appArmorProfile) && " + context + ".appArmorProfile.type == 'Unconfined'))"
}
