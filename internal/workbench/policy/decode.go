package policy

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds what is read: a policy is a few hundred lines.
const maxFile = 1 << 20

// position is where something stands in a file; line 0 is nowhere.
type position struct{ line, column int }

// positions remembers where each value stands, by its path.
type positions map[string]position

func pathOf(path ...any) string {
	var b strings.Builder
	for _, p := range path {
		fmt.Fprintf(&b, "%v\x00", p)
	}
	return b.String()
}

// at finds the position of the item, or of the nearest thing around it.
func (p positions) at(path ...any) position {
	for ; len(path) > 0; path = path[:len(path)-1] {
		if at, ok := p[pathOf(path...)]; ok {
			return at
		}
	}
	return position{}
}

// decoder reads YAML nodes into Go values, strictly, and collects every mistake.
type decoder struct {
	file string
	pos  positions
	errs []error
}

func (d *decoder) bad(at position, format string, args ...any) {
	d.errs = append(d.errs, mistake(d.file, at, format, args...))
}

// mistake is FILE:LINE:COLUMN: MESSAGE.
func mistake(file string, at position, format string, args ...any) error {
	msg := fmt.Sprintf(format, args...)
	if at.line == 0 {
		return fmt.Errorf("%s: %s", file, msg)
	}
	return fmt.Errorf("%s:%d:%d: %s", file, at.line, at.column, msg)
}

// decode reads one document into the policy.
func decode(file string, data []byte) (*Policy, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s: %d bytes: a policy has at most %d", file, len(data), maxFile)
	}
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var root, more yaml.Node
	if err := dec.Decode(&root); err != nil {
		return nil, syntax(file, err)
	}
	if len(root.Content) == 0 || root.Content[0].Tag == "!!null" {
		return nil, fmt.Errorf("%s: the file is empty: bulkhead policy init prints one to start from", file)
	}
	if dec.Decode(&more) == nil {
		return nil, mistake(file, position{more.Line, more.Column}, "a second document: a policy is one")
	}
	d := &decoder{file: file, pos: positions{}}
	p := &Policy{file: file, pos: d.pos}
	d.value(root.Content[0], reflect.ValueOf(p).Elem(), "", nil)
	return p, errors.Join(d.errs...)
}

// parserMessages are those that the library counts lines from 0 for; the
// scanner's it counts from 1.
var parserMessages = regexp.MustCompile(`^did not find expected (<stream-start>|<document start>|node content|'-' indicator|key|',' or '[\]}]')$`)

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)

// syntax turns the parser's message into FILE:LINE: MESSAGE.
func syntax(file string, err error) error {
	if err.Error() == "EOF" {
		return fmt.Errorf("%s: the file is empty: bulkhead policy init prints one to start from", file)
	}
	line, msg := 0, strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = m[2]
	}
	if parserMessages.MatchString(msg) {
		line++
	}
	if line == 0 {
		return fmt.Errorf("%s: %s", file, msg)
	}
	return fmt.Errorf("%s:%d: %s", file, line, msg)
}

// value reads a node into v; enum lists the words that a text may be.
func (d *decoder) value(n *yaml.Node, v reflect.Value, enum string, path []any) {
	at := position{n.Line, n.Column}
	if _, seen := d.pos[pathOf(path...)]; !seen {
		d.pos[pathOf(path...)] = at
	}
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		d.bad(at, "anchors and aliases are not used in a policy: write it out")
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), enum, path)
	case reflect.Struct:
		d.object(n, v, path)
	case reflect.Map:
		d.table(n, v, path)
	case reflect.Slice:
		d.list(n, v, enum, path)
	case reflect.Int:
		i, err := strconv.Atoi(n.Value)
		if n.Kind != yaml.ScalarNode || n.Tag != "!!int" || err != nil {
			d.bad(at, "want a number, got %s", describe(n))
			return
		}
		v.SetInt(int64(i))
	case reflect.String:
		d.text(n, v, enum)
	}
}

func (d *decoder) text(n *yaml.Node, v reflect.Value, enum string) {
	at := position{n.Line, n.Column}
	if n.Kind != yaml.ScalarNode {
		d.bad(at, "want a text, got %s", describe(n))
		return
	}
	if n.Tag != "!!str" { // 1, true, null: written without quotes it is no text
		d.bad(at, "want a text, got %s: put it in quotes", describe(n))
		return
	}
	if n.Value == "" {
		d.bad(at, "an empty text: leave the field out")
		return
	}
	if enum != "" && !slices.Contains(strings.Fields(enum), n.Value) {
		d.bad(at, "%q: want one of %s%s", n.Value, strings.Join(strings.Fields(enum), ", "), near(n.Value, strings.Fields(enum)))
		return
	}
	v.SetString(n.Value)
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, enum string, path []any) {
	at := position{n.Line, n.Column}
	if n.Kind == yaml.ScalarNode && v.Type() == reflect.TypeFor[Patterns]() {
		var one string
		d.text(n, reflect.ValueOf(&one).Elem(), enum)
		v.Set(reflect.ValueOf(Patterns{one}))
		return
	}
	if n.Kind != yaml.SequenceNode {
		d.bad(at, "want a list, got %s", describe(n))
		return
	}
	if len(n.Content) == 0 {
		d.bad(at, "an empty list: leave the field out")
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
	for i, item := range n.Content {
		d.value(item, v.Index(i), enum, append(slices.Clone(path), i))
	}
}

func (d *decoder) table(n *yaml.Node, v reflect.Value, path []any) {
	if n.Kind != yaml.MappingNode {
		d.bad(position{n.Line, n.Column}, "want names with values, got %s", describe(n))
		return
	}
	if len(n.Content) == 0 {
		d.bad(position{n.Line, n.Column}, "no names: leave the field out")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	d.pairs(n, func(key string, kn, vn *yaml.Node) {
		p := append(slices.Clone(path), key)
		d.pos[pathOf(p...)] = position{kn.Line, kn.Column}
		item := reflect.New(v.Type().Elem()).Elem()
		d.value(vn, item, "", p)
		v.SetMapIndex(reflect.ValueOf(key), item)
	})
}

func (d *decoder) object(n *yaml.Node, v reflect.Value, path []any) {
	if n.Kind != yaml.MappingNode {
		d.bad(position{n.Line, n.Column}, "want fields (%s), got %s", strings.Join(fieldNames(v.Type()), ", "), describe(n))
		return
	}
	seen := map[string]bool{}
	d.pairs(n, func(key string, kn, vn *yaml.Node) {
		i := fieldIndex(v.Type(), key)
		if i < 0 {
			d.bad(position{kn.Line, kn.Column}, "unknown field %q%s: there are %s", key, near(key, fieldNames(v.Type())), strings.Join(fieldNames(v.Type()), ", "))
			return
		}
		seen[key] = true
		p := append(slices.Clone(path), key)
		d.pos[pathOf(p...)] = position{kn.Line, kn.Column}
		d.value(vn, v.Field(i), v.Type().Field(i).Tag.Get("enum"), p)
	})
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Tag.Get("need") == "yes" && !seen[f.Tag.Get("yaml")] {
			d.bad(position{n.Line, n.Column}, "the field %q is missing", f.Tag.Get("yaml"))
		}
	}
}

// pairs walks a mapping; a name that comes twice is a mistake.
func (d *decoder) pairs(n *yaml.Node, each func(key string, kn, vn *yaml.Node)) {
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		kn, vn := n.Content[i], n.Content[i+1]
		at := position{kn.Line, kn.Column}
		if kn.Kind != yaml.ScalarNode || kn.Tag != "!!str" {
			d.bad(at, "want a name, got %s", describe(kn))
			continue
		}
		if first, twice := lines[kn.Value]; twice {
			d.bad(at, "%q stands twice, first on line %d", kn.Value, first)
			continue
		}
		lines[kn.Value] = kn.Line
		each(kn.Value, kn, vn)
	}
}

func fieldNames(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		if name := t.Field(i).Tag.Get("yaml"); name != "" {
			out = append(out, name)
		}
	}
	return out
}

func fieldIndex(t reflect.Type, name string) int {
	for i := range t.NumField() {
		if name != "" && t.Field(i).Tag.Get("yaml") == name {
			return i
		}
	}
	return -1
}

// describe names what was found in place of what was wanted.
func describe(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "fields"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	case n.Kind == yaml.AliasNode:
		return "an alias"
	}
	if len(n.Value) > 40 {
		return strconv.Quote(n.Value[:40]) + "…"
	}
	return strconv.Quote(n.Value)
}

// near suggests the word that was probably meant.
func near(word string, words []string) string {
	best, least := "", 3
	for _, w := range words {
		if n := distance(word, w); n < least {
			best, least = w, n
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

// distance is Levenshtein's, for short words.
func distance(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return 40
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			up := row[j+1]
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, up+1, row[j]+1)
			diagonal = up
		}
	}
	return row[len(b)]
}
