package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"bulkhead.dev/bulkhead/internal/container"
)

func init() {
	register(&command{
		name: "spec", short: "write a config.json to start from",
		examples: "mkdir -p box/rootfs && cd box && bulkhead spec\nbulkhead spec --rootless --bundle box",
		setup: func(c *context) func([]string) int {
			dir := c.flags.String("bundle", "", "`dir`ectory to write it to (default: the current one)")
			rootless := c.flags.Bool("rootless", false, "for an ordinary user, by a user namespace")
			alias(c.flags, "b", "bundle")
			return func(args []string) int {
				if err := exactly(args, 0, "no argument"); err != nil {
					return c.fail(err)
				}
				return c.fail0(writeSpec(*dir, *rootless))
			}
		},
	})
	register(&command{
		name: "features", short: "show what this runtime can do, as JSON",
		examples: "bulkhead features",
		setup: func(c *context) func([]string) int {
			return func([]string) int { return c.fail0(c.printJSON(container.Features(version))) }
		},
	})
}

// writeSpec writes config.json, and never over another.
func writeSpec(dir string, rootless bool) error {
	raw, err := json.MarshalIndent(container.SpecTemplate(rootless), "", "\t")
	if err != nil {
		return err
	}
	path := filepath.Join(dir, "config.json")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("file %s exists; remove it first", path)
	}
	if err != nil {
		return err
	}
	if _, err := f.Write(append(raw, '\n')); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}
