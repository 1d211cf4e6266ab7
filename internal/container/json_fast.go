package container

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The first use of encoding/json for a type as large as config.json's costs a
// millisecond or two, since it makes itself tables for all of it; a container's
// start uses each type once. What follows reads and writes the plain cases and
// refuses all others, which are then encoding/json's: an unknown or doubled
// name, an escape in a string, a number that is no integer, a type with methods
// of its own, anything malformed. So it never decides about an error.

// fastDecode decodes raw into a pointer to a zero struct. If it gives false
// what it leads to is to be zeroed.
func fastDecode(raw []byte, into any) bool {
	d := fastDecoder{b: raw, ok: true}
	d.value(reflect.ValueOf(into).Elem())
	d.space()
	return d.ok && len(d.b) == 0
}

type fastDecoder struct {
	b  []byte
	ok bool
}

var jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (d *fastDecoder) fail() { d.ok, d.b = false, nil }

func (d *fastDecoder) space() {
	for len(d.b) > 0 && (d.b[0] == ' ' || d.b[0] == '\n' || d.b[0] == '\t' || d.b[0] == '\r') {
		d.b = d.b[1:]
	}
}

// next takes the byte c, behind any space.
func (d *fastDecoder) next(c byte) bool {
	d.space()
	if len(d.b) == 0 || d.b[0] != c {
		return false
	}
	d.b = d.b[1:]
	return true
}

// word takes a literal.
func (d *fastDecoder) word(w string) bool {
	if len(d.b) < len(w) || string(d.b[:len(w)]) != w {
		return false
	}
	d.b = d.b[len(w):]
	return true
}

func (d *fastDecoder) value(v reflect.Value) {
	if d.space(); len(d.b) == 0 {
		d.fail()
		return
	}
	if t := v.Type(); t == timeType {
		var at time.Time
		if at.UnmarshalText([]byte(d.text())) != nil {
			d.fail()
		}
		v.Set(reflect.ValueOf(at))
		return
	} else if t.PkgPath() != "" && reflect.PointerTo(t).Implements(jsonUnmarshaler) {
		d.fail()
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if d.word("null") {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		d.value(v.Elem())
	case reflect.Struct:
		d.object(func(name string, seen []string) bool {
			f := fieldNamed(v, name)
			if !f.IsValid() || slices.Contains(seen, name) {
				return false
			}
			d.value(f)
			return true
		})
	case reflect.Map:
		d.mapping(v)
	case reflect.Slice:
		d.list(v)
	case reflect.String:
		v.SetString(d.text())
	case reflect.Bool:
		switch {
		case d.word("true"):
			v.SetBool(true)
		case d.word("false"):
			v.SetBool(false)
		default:
			d.fail()
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(d.digits(), 10, v.Type().Bits())
		if err != nil {
			d.fail()
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(d.digits(), 10, v.Type().Bits())
		if err != nil {
			d.fail()
		}
		v.SetUint(n)
	default:
		d.fail()
	}
}

// object calls member with each name, and those before it, to take the value.
func (d *fastDecoder) object(member func(name string, seen []string) bool) {
	if !d.next('{') {
		d.fail()
		return
	}
	if d.next('}') {
		return
	}
	var seen []string
	for d.ok {
		d.space()
		name := d.text()
		if !d.next(':') || !member(name, seen) {
			d.fail()
			return
		}
		seen = append(seen, name)
		if d.next('}') {
			return
		}
		if !d.next(',') {
			d.fail()
		}
	}
}

func (d *fastDecoder) mapping(v reflect.Value) {
	if d.word("null") {
		return
	}
	t := v.Type()
	if t.Key().Kind() != reflect.String || t.Key().PkgPath() != "" {
		d.fail()
		return
	}
	v.Set(reflect.MakeMap(t))
	d.object(func(name string, seen []string) bool {
		elem := reflect.New(t.Elem()).Elem()
		d.value(elem)
		v.SetMapIndex(reflect.ValueOf(name), elem)
		return v.Len() == len(seen)+1
	})
}

func (d *fastDecoder) list(v reflect.Value) {
	if d.word("null") {
		return
	}
	if v.Type().Elem().Kind() == reflect.Uint8 || !d.next('[') {
		d.fail() // bytes are base64
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), 0, 4))
	if d.next(']') {
		return
	}
	for i := 0; d.ok; i++ {
		v.Grow(1)
		v.SetLen(i + 1)
		v.Index(i).SetZero()
		d.value(v.Index(i))
		if d.next(']') {
			return
		}
		if !d.next(',') {
			d.fail()
		}
	}
}

// text takes a string without escapes.
func (d *fastDecoder) text() string {
	if len(d.b) == 0 || d.b[0] != '"' {
		d.fail()
		return ""
	}
	for i := 1; i < len(d.b); i++ {
		switch c := d.b[i]; {
		case c == '"':
			s := string(d.b[1:i])
			d.b = d.b[i+1:]
			if !utf8.ValidString(s) {
				d.fail()
			}
			return s
		case c == '\\' || c < ' ':
			d.fail()
			return ""
		}
	}
	d.fail()
	return ""
}

// digits takes an integer.
func (d *fastDecoder) digits() string {
	i := 0
	if i < len(d.b) && d.b[i] == '-' {
		i++
	}
	first := i
	for i < len(d.b) && '0' <= d.b[i] && d.b[i] <= '9' {
		i++
	}
	s := string(d.b[:i])
	if i == first || (d.b[first] == '0' && (i > first+1 || first > 0)) {
		return ""
	}
	if d.b = d.b[i:]; len(d.b) > 0 && strings.IndexByte(".eE", d.b[0]) >= 0 {
		return ""
	}
	return s
}

// fieldNamed gives the field that has this very name in JSON.
func fieldNamed(v reflect.Value, name string) reflect.Value {
	t := v.Type()
	for i := range t.NumField() {
		if f := t.Field(i); f.IsExported() && !f.Anonymous {
			if tag, opts, _ := strings.Cut(f.Tag.Get("json"), ","); tag == name && (opts == "" || opts == "omitempty") {
				return v.Field(i)
			}
		}
	}
	return reflect.Value{}
}

// fastEncode encodes what it can as encoding/json does; the rest is left to that.
func fastEncode(v any) ([]byte, error) {
	e := fastEncoder{b: make([]byte, 0, 2048), ok: true}
	e.value(reflect.ValueOf(v).Elem())
	if !e.ok {
		return json.Marshal(v)
	}
	return e.b, nil
}

type fastEncoder struct {
	b  []byte
	ok bool
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	timeType      = reflect.TypeFor[time.Time]()
)

func (e *fastEncoder) value(v reflect.Value) {
	if t := v.Type(); t == timeType {
		at := v.Interface().(time.Time)
		e.b = append(at.AppendFormat(append(e.b, '"'), time.RFC3339Nano), '"')
		return
	} else if t.PkgPath() != "" && reflect.PointerTo(t).Implements(jsonMarshaler) {
		e.ok = false
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			e.b = append(e.b, "null"...)
			return
		}
		e.value(v.Elem())
	case reflect.Struct:
		e.object(v)
	case reflect.Map:
		e.mapping(v)
	case reflect.Slice:
		e.list(v)
	case reflect.String:
		e.text(v.String())
	case reflect.Bool:
		e.b = strconv.AppendBool(e.b, v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		e.b = strconv.AppendInt(e.b, v.Int(), 10)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		e.b = strconv.AppendUint(e.b, v.Uint(), 10)
	default:
		e.ok = false
	}
}

func (e *fastEncoder) object(v reflect.Value) {
	t := v.Type()
	open := byte('{')
	for i := range t.NumField() {
		f := t.Field(i)
		name, opts, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" && opts == "":
			continue
		case !f.IsExported() || f.Anonymous || name == "" || (opts != "" && opts != "omitempty"):
			e.ok = false
			return
		case opts == "omitempty" && isEmpty(v.Field(i)):
			continue
		}
		e.b = append(e.b, open)
		open = ','
		e.text(name)
		e.b = append(e.b, ':')
		e.value(v.Field(i))
	}
	if open == '{' {
		e.b = append(e.b, '{')
	}
	e.b = append(e.b, '}')
}

// isEmpty is what omitempty means.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Struct:
		return false
	case reflect.Slice, reflect.Map, reflect.Array, reflect.String:
		return v.Len() == 0
	}
	return v.IsZero()
}

func (e *fastEncoder) mapping(v reflect.Value) {
	if v.IsNil() {
		e.b = append(e.b, "null"...)
		return
	}
	if t := v.Type().Key(); t.Kind() != reflect.String || t.PkgPath() != "" {
		e.ok = false
		return
	}
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	e.b = append(e.b, '{')
	for i, k := range keys {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.text(k.String())
		e.b = append(e.b, ':')
		e.value(v.MapIndex(k))
	}
	e.b = append(e.b, '}')
}

func (e *fastEncoder) list(v reflect.Value) {
	if v.IsNil() {
		e.b = append(e.b, "null"...)
		return
	}
	if v.Type().Elem().Kind() == reflect.Uint8 {
		e.ok = false // base64
		return
	}
	e.b = append(e.b, '[')
	for i := range v.Len() {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		e.value(v.Index(i))
	}
	e.b = append(e.b, ']')
}

// text appends a string; one that needs an escape is encoding/json's.
func (e *fastEncoder) text(s string) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			raw, err := json.Marshal(s)
			if err != nil {
				e.ok = false
			}
			e.b = append(e.b, raw...)
			return
		}
	}
	e.b = append(append(append(e.b, '"'), s...), '"')
}
