package kernel

// seccompState is a task's chain of filters; it never changes in place.
type seccompState struct {
	strict bool
}
