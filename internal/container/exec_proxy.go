package container

// ExecProxyMain stands for a detached exec'ed process on the host.
func ExecProxyMain(args []string) int { return 1 }
