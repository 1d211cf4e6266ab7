package kernel

// taskPlatform is the host's side of a task.
type taskPlatform struct{}

// kick makes the task leave user mode, to look at its signals.
func (p *taskPlatform) kick() {}

// usage gives what the host's thread has used.
func (p *taskPlatform) usage() Usage { return Usage{} }
