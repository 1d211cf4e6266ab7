package gofer

import (
	"flag"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire"
)

// Main is `bulkhead gofer --conn-fd=N --config-fd=M`. It ends when the Sentry
// closes its end of the connection.
func Main(args []string) error {
	wire.NoCore()
	flags := flag.NewFlagSet("gofer", flag.ContinueOnError)
	conn := flags.Int("conn-fd", -1, "SOCK_SEQPACKET connection to the Sentry")
	conf := flags.Int("config-fd", -1, "GoferConfig, to its end")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *conn < 0 || *conf < 0 {
		return fmt.Errorf("gofer: --conn-fd and --config-fd are needed")
	}
	cfg := &wire.GoferConfig{}
	if err := wire.ReadConfig(*conf, cfg); err != nil {
		return fmt.Errorf("gofer: %w", err)
	}
	return Run(*conn, cfg)
}

// Run opens the roots, confines the process for good, and serves.
func Run(conn int, cfg *wire.GoferConfig) error {
	// One goroutine serves. Started by the lifecycle, the process has this from
	// its environment, and the call changes nothing.
	runtime.GOMAXPROCS(wire.GoferProcs)
	runtime.LockOSThread()
	unix.Umask(0)
	trees, err := openTrees(cfg)
	if err != nil {
		return err
	}
	s := newServer(wire.NewFSConn(conn), trees)
	s.place = here()
	if err := confineSelf(trees); err != nil {
		return err
	}
	return s.serve()
}

func openTrees(cfg *wire.GoferConfig) ([]*tree, error) {
	if len(cfg.Mounts) == 0 {
		return nil, fmt.Errorf("gofer: the configuration has no mounts")
	}
	if len(cfg.Mounts) > 1<<16-1 {
		return nil, fmt.Errorf("gofer: %d mounts are more than the protocol can name", len(cfg.Mounts))
	}
	var trees []*tree
	for _, m := range cfg.Mounts {
		t, err := openTree(m)
		if err != nil {
			return nil, err
		}
		trees = append(trees, t)
	}
	return trees, nil
}

// Serve answers on conn without confining the process: for tests, which run a
// Gofer beside themselves.
func Serve(conn int, cfg *wire.GoferConfig) error {
	runtime.LockOSThread()
	trees, err := openTrees(cfg)
	if err != nil {
		return err
	}
	return newServer(wire.NewFSConn(conn), trees).serve()
}
