package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
)

// A packed configuration is a byte that no JSON begins with, then the values in
// the order of their fields, without names: both ends are one program. The
// first use of encoding/json costs a process a millisecond, this a fiftieth of
// it.
//
//	bool, uintN   uvarint          string, slice, map   uvarint length, elements
//	intN          varint           pointer              0, or 1 and what it leads to
//	struct, array their parts      float, interface …   refused

const packed = 1

// Pack encodes a configuration: a pointer to a struct of such fields.
func Pack(config any) ([]byte, error) {
	p := packer{b: make([]byte, 1, 4096)}
	p.b[0] = packed
	p.value(reflect.ValueOf(config).Elem())
	return p.b, p.err
}

// Unpack decodes what Pack made into a configuration of the same type.
func Unpack(raw []byte, config any) error {
	if len(raw) == 0 || raw[0] != packed {
		return errors.New("not a packed configuration")
	}
	u := unpacker{b: raw[1:]}
	u.value(reflect.ValueOf(config).Elem())
	if u.err == nil && len(u.b) != 0 {
		u.err = fmt.Errorf("%d bytes behind the packed configuration", len(u.b))
	}
	return u.err
}

type packer struct {
	b   []byte
	err error
}

func (p *packer) uint(n uint64) { p.b = binary.AppendUvarint(p.b, n) }

func (p *packer) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		n := uint64(0)
		if v.Bool() {
			n = 1
		}
		p.uint(n)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.b = binary.AppendVarint(p.b, v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		p.uint(v.Uint())
	case reflect.String:
		p.uint(uint64(v.Len()))
		p.b = append(p.b, v.String()...)
	case reflect.Slice:
		p.uint(uint64(v.Len()))
		fallthrough
	case reflect.Array:
		for i := range v.Len() {
			p.value(v.Index(i))
		}
	case reflect.Map:
		p.uint(uint64(v.Len()))
		for it := v.MapRange(); it.Next(); {
			p.value(it.Key())
			p.value(it.Value())
		}
	case reflect.Pointer:
		if v.IsNil() {
			p.uint(0)
			return
		}
		p.uint(1)
		p.value(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			p.value(v.Field(i))
		}
	default:
		p.err = fmt.Errorf("a configuration cannot have a %s", v.Type())
	}
}

type unpacker struct {
	b   []byte
	err error
}

func (u *unpacker) bad() {
	if u.err == nil {
		u.err = errors.New("the packed configuration is cut short or makes no sense")
	}
	u.b = nil
}

func (u *unpacker) uint() uint64 {
	n, size := binary.Uvarint(u.b)
	if size <= 0 {
		u.bad()
		return 0
	}
	u.b = u.b[size:]
	return n
}

func (u *unpacker) int() int64 {
	n, size := binary.Varint(u.b)
	if size <= 0 {
		u.bad()
		return 0
	}
	u.b = u.b[size:]
	return n
}

// length is that of a string, slice or map, whose elements take a byte each at
// the least.
func (u *unpacker) length() int {
	n := u.uint()
	if n > uint64(len(u.b)) {
		u.bad()
		return 0
	}
	return int(n)
}

func (u *unpacker) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(u.uint() != 0)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n := u.int()
		if v.OverflowInt(n) {
			u.bad()
		}
		v.SetInt(n)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n := u.uint()
		if v.OverflowUint(n) {
			u.bad()
		}
		v.SetUint(n)
	case reflect.String:
		n := u.length()
		v.SetString(string(u.b[:n]))
		u.b = u.b[n:]
	case reflect.Slice:
		if n := u.length(); n > 0 {
			v.Set(reflect.MakeSlice(v.Type(), 0, min(n, 1024)))
			for i := 0; i < n && u.err == nil; i++ {
				v.Grow(1)
				v.SetLen(i + 1)
				u.value(v.Index(i))
			}
		}
	case reflect.Array:
		for i := range v.Len() {
			u.value(v.Index(i))
		}
	case reflect.Map:
		u.fill(v)
	case reflect.Pointer:
		if u.uint() == 1 {
			v.Set(reflect.New(v.Type().Elem()))
			u.value(v.Elem())
		}
	case reflect.Struct:
		for i := range v.NumField() {
			u.value(v.Field(i))
		}
	default:
		u.err = fmt.Errorf("a configuration cannot have a %s", v.Type())
	}
}

func (u *unpacker) fill(v reflect.Value) {
	n := u.length()
	if n == 0 {
		return
	}
	v.Set(reflect.MakeMapWithSize(v.Type(), min(n, 1024)))
	for i := 0; i < n && u.err == nil; i++ {
		key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		u.value(key)
		u.value(elem)
		v.SetMapIndex(key, elem)
	}
}
