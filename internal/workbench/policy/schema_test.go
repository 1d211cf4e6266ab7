package policy

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestSchemaIsCurrent: the committed schema is what the Go types say.
func TestSchemaIsCurrent(t *testing.T) {
	committed, err := os.ReadFile(SchemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(committed) != string(Schema()) {
		t.Errorf("%s is not what the types say: go generate ./internal/workbench/policy", SchemaFile)
	}
}

// TestSchemaAndLoaderAgree: what the loader takes is valid by the schema; a
// mistake of form that one finds the other finds too.
func TestSchemaAndLoaderAgree(t *testing.T) {
	var s map[string]any
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	wide, err := os.ReadFile("testdata/wide.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(defaultPolicy), string(wide), small} {
		if err := valid(s, s, document(t, text), ""); err != nil {
			t.Errorf("a good policy: %v", err)
		}
	}
	for _, c := range []struct{ old, new string }{
		{"version: 1", "version: 2"}, {"version: 1\n", ""}, {"version: 1", "version: one"},
		{"absent: runc", "absnet: runc"}, {"absent: runc", "absent: 1"}, {"absent: runc", "absent: [runc]"},
		{"wall: none}", "wall: nine}"}, {"name: sentry", "name: Sentry"}, {"{namespace: shop}", "{}"},
		{"{namespace: shop}", "{namespace: []}"}, {"{namespace: shop}", "{namespace: {a: b}}"}, {"{namespace: shop}", "shop"},
		{"{namespace: shop}", "{namespace: shop, needs: [root]}"}, {"{namespace: shop}", "{namespace: shop, labels: {}}"},
		{"{namespace: shop}", "{namespace: shop, image-any: x}"}, {"class: own", "class: ''"}, {"    class: own\n", ""},
		{"rules:", "exempt: [{namespace: x}]\nrules:"}, {"{name: runc, wall: none}", "{name: runc, wall: none, overhead: {memory: 3}}"},
		{"{name: runc, wall: none}", "{name: runc, wall: none, binary: runc}"},
	} {
		text := strings.Replace(small, c.old, c.new, 1)
		if text == small {
			t.Fatalf("%q: nothing was replaced", c.old)
		}
		_, err := Parse("x", []byte(text))
		if err == nil {
			t.Errorf("%q for %q: the loader takes it", c.new, c.old)
		}
		if valid(s, s, document(t, text), "") == nil {
			t.Errorf("%q for %q: the schema takes it", c.new, c.old)
		}
	}
}

// TestEveryFieldIsDocumented: the schema is what an editor shows.
func TestEveryFieldIsDocumented(t *testing.T) {
	for _, x := range []reflect.Type{reflect.TypeFor[Policy](), reflect.TypeFor[Runtime](), reflect.TypeFor[Overhead](), reflect.TypeFor[Class](),
		reflect.TypeFor[Exemption](), reflect.TypeFor[Rule](), reflect.TypeFor[Match]()} {
		for i := range x.NumField() {
			f := x.Field(i)
			if f.IsExported() && (f.Tag.Get("yaml") == "" || f.Tag.Get("doc") == "") {
				t.Errorf("%s.%s has no yaml or no doc tag", x.Name(), f.Name)
			}
			if form := f.Tag.Get("form"); form != "" && forms[form].re == nil {
				t.Errorf("%s.%s: no form %q", x.Name(), f.Name, form)
			}
		}
	}
	var asks []string
	for _, n := range needs {
		asks = append(asks, string(n.need))
		if celNeeds[n.need] == "" {
			t.Errorf("need %s has no expression", n.need)
		}
	}
	f, _ := reflect.TypeFor[Match]().FieldByName("Needs")
	if got := f.Tag.Get("enum"); got != strings.Join(asks, " ") {
		t.Errorf("the needs are %q, the tag says %q", asks, got)
	}
}

func document(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// valid is as much of a JSON schema validator as Schema needs; a keyword that it
// does not know is an error.
func valid(root, s map[string]any, v any, path string) error {
	for key, want := range s {
		var err error
		switch key {
		case "$schema", "title", "description", "$defs", "required", "properties", "additionalProperties":
		case "$ref":
			name := strings.TrimPrefix(want.(string), "#/$defs/")
			err = valid(root, root["$defs"].(map[string]any)[name].(map[string]any), v, path)
		case "anyOf":
			err = fmt.Errorf("%s: none of the forms", path)
			for _, one := range want.([]any) {
				if valid(root, one.(map[string]any), v, path) == nil {
					err = nil
				}
			}
		case "const":
			if fmt.Sprint(v) != fmt.Sprint(want) {
				err = fmt.Errorf("%s: %v is not %v", path, v, want)
			}
		case "enum":
			err = fmt.Errorf("%s: %v is none of %v", path, v, want)
			for _, one := range want.([]any) {
				if v == one {
					err = nil
				}
			}
		case "type":
			err = validType(root, s, want.(string), v, path)
		case "pattern":
			if text, ok := v.(string); ok && !regexp.MustCompile(want.(string)).MatchString(text) {
				err = fmt.Errorf("%s: %q does not match %s", path, v, want)
			}
		case "minLength":
			if text, ok := v.(string); ok && text == "" {
				err = fmt.Errorf("%s: empty", path)
			}
		case "minItems":
			if list, ok := v.([]any); ok && len(list) == 0 {
				err = fmt.Errorf("%s: empty", path)
			}
		case "minProperties":
			if m, ok := v.(map[string]any); ok && len(m) == 0 {
				err = fmt.Errorf("%s: empty", path)
			}
		case "items":
			list, _ := v.([]any)
			for i, x := range list {
				if e := valid(root, want.(map[string]any), x, fmt.Sprintf("%s[%d]", path, i)); e != nil {
					err = e
				}
			}
		default:
			err = fmt.Errorf("%s: this test knows no %q", path, key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func validType(root, s map[string]any, want string, v any, path string) error {
	ok := false
	switch want {
	case "string":
		_, ok = v.(string)
	case "integer":
		_, ok = v.(int)
	case "array":
		_, ok = v.([]any)
	case "object":
		_, ok = v.(map[string]any)
	}
	if !ok {
		return fmt.Errorf("%s: %v is no %s", path, v, want)
	}
	m, _ := v.(map[string]any)
	if m == nil {
		return nil
	}
	for _, name := range anyList(s["required"]) {
		if _, there := m[name.(string)]; !there {
			return fmt.Errorf("%s: %s is missing", path, name)
		}
	}
	props, _ := s["properties"].(map[string]any)
	for name, x := range m {
		p, known := props[name].(map[string]any)
		if !known {
			if p, known = s["additionalProperties"].(map[string]any); !known {
				return fmt.Errorf("%s: unknown field %s", path, name)
			}
		}
		if err := valid(root, p, x, path+"."+name); err != nil {
			return err
		}
	}
	return nil
}

func anyList(v any) []any { l, _ := v.([]any); return l }
