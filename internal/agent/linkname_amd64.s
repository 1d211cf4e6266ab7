// Functions without a body (go:linkname in script_unsafe.go) need a package
// with an assembly file.
