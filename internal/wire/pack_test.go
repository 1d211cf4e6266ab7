package wire

import (
	"reflect"
	"testing"
)

// filled gives every field of a type something other than its zero value.
func filled(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(-7)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(200)
	case reflect.String:
		v.SetString("a string")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			filled(v.Index(i))
		}
	case reflect.Map:
		k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		filled(k)
		filled(e)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(k, e)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		filled(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			filled(v.Field(i))
		}
	}
}

// TestPack: what was packed comes back, field by field, and a part of it never
// does.
func TestPack(t *testing.T) {
	for _, c := range []struct{ in, out any }{
		{new(SentryConfig), new(SentryConfig)}, {new(GoferConfig), new(GoferConfig)},
	} {
		for _, full := range []bool{false, true} {
			if full {
				filled(reflect.ValueOf(c.in).Elem())
			}
			raw, err := Pack(c.in)
			if err != nil {
				t.Fatalf("%T: %v", c.in, err)
			}
			out := reflect.New(reflect.TypeOf(c.in).Elem()).Interface()
			if err := Unpack(raw, out); err != nil {
				t.Fatalf("%T: %v", c.in, err)
			}
			if !reflect.DeepEqual(c.in, out) {
				t.Errorf("%T came back as %+v", c.in, out)
			}
			for n := range raw {
				if Unpack(raw[:n], c.out) == nil {
					t.Errorf("%T: %d of %d bytes were taken", c.in, n, len(raw))
				}
			}
			if Unpack(append(raw, 0), c.out) == nil {
				t.Errorf("%T: a byte too many was taken", c.in)
			}
		}
	}
	if _, err := Pack(&struct{ F float64 }{1}); err == nil {
		t.Error("a float was packed")
	}
}

func FuzzUnpack(f *testing.F) {
	raw, _ := Pack(&SentryConfig{ID: "c", Process: Process{Args: []string{"a"}}})
	f.Add(raw)
	f.Fuzz(func(t *testing.T, b []byte) { _ = Unpack(b, new(SentryConfig)) })
}
