package kernel

import "unsafe"

// viewString is b as a string without a copy. b must not change while the
// string is used: it is a call's private memory, valid during the call.
func viewString(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
