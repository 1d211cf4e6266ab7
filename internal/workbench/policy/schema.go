package policy

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
)

// SchemaFile is the committed schema, beside the default policy; a test holds it
// to the Go types: go generate writes it anew.
//
//go:generate go run bulkhead.dev/bulkhead/cmd/bulkhead-bench policy schema --out policy.schema.json
//go:generate env -C ../../.. go run ./cmd/bulkhead-bench policy render runbook --report docs/report/results.json --out docs/runbook.md
const SchemaFile = "policy.schema.json"

// Schema is the JSON schema of the policy file, made from the Go types.
func Schema() []byte {
	g := &generator{defs: map[string]any{}}
	g.of(reflect.TypeFor[Policy](), reflect.StructField{})
	schema := g.defs["Policy"].(map[string]any)
	delete(g.defs, "Policy")
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "bulkhead policy"
	schema["$defs"] = g.defs
	schema["properties"].(map[string]any)["version"] = map[string]any{"const": Version, "description": "Version of this file's format."}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(schema); err != nil {
		panic(err) // maps of texts and numbers
	}
	return b.Bytes()
}

type generator struct{ defs map[string]any }

// of is the schema of a Go type; f has the tags of the field it is in.
func (g *generator) of(t reflect.Type, f reflect.StructField) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return g.of(t.Elem(), f)
	case reflect.Struct:
		if _, known := g.defs[t.Name()]; !known {
			g.defs[t.Name()] = nil // a type may hold itself
			g.defs[t.Name()] = g.object(t)
		}
		return map[string]any{"$ref": "#/$defs/" + t.Name()}
	case reflect.Map:
		return map[string]any{"type": "object", "minProperties": 1, "additionalProperties": g.of(t.Elem(), reflect.StructField{})}
	case reflect.Slice:
		list := map[string]any{"type": "array", "minItems": 1, "items": g.of(t.Elem(), f)}
		if t == reflect.TypeFor[Patterns]() {
			return map[string]any{"anyOf": []any{g.of(t.Elem(), f), list}}
		}
		return list
	case reflect.Int:
		return map[string]any{"type": "integer"}
	}
	s := map[string]any{"type": "string", "minLength": 1}
	if enum := f.Tag.Get("enum"); enum != "" {
		return map[string]any{"enum": strings.Fields(enum)}
	}
	if form, ok := forms[f.Tag.Get("form")]; ok {
		s["pattern"] = form.re.String()
	}
	return s
}

func (g *generator) object(t reflect.Type) map[string]any {
	props := map[string]any{}
	var required []string
	for i := range t.NumField() {
		f := t.Field(i)
		name := f.Tag.Get("yaml")
		if name == "" {
			continue
		}
		p := g.of(f.Type, f)
		p["description"] = f.Tag.Get("doc")
		props[name] = p
		if f.Tag.Get("need") == "yes" {
			required = append(required, name)
		}
	}
	o := map[string]any{"type": "object", "additionalProperties": false, "properties": props}
	if required != nil {
		o["required"] = required
	}
	if t == reflect.TypeFor[Match]() {
		o["minProperties"] = 1
	}
	return o
}
