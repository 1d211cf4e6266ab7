package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// openLog opens the file of --log. Without one, messages go to stderr.
func (c *context) openLog() error {
	if c.logPath == "" {
		return nil
	}
	f, err := os.OpenFile(c.logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("--log: %w", err)
	}
	c.log = f
	return nil
}

func (c *context) closeLog() {
	if c.log != nil {
		c.log.Close()
		c.log = nil
	}
}

// logf writes one message in the form engines read: the fields level, msg and
// time.
func (c *context) logf(level, format string, a ...any) {
	msg := fmt.Sprintf(format, a...)
	if c.log == nil && c.logFormat != "json" {
		prefix := "bulkhead: "
		if level != "error" {
			prefix += level + ": "
		}
		fmt.Fprintf(c.stderr, "%s%s\n", prefix, msg)
		return
	}
	w := c.log
	if w == nil {
		w = c.stderr
	}
	now := time.Now().Format(time.RFC3339)
	if c.logFormat == "json" {
		line, _ := json.Marshal(struct {
			Level string `json:"level"`
			Msg   string `json:"msg"`
			Time  string `json:"time"`
		}{level, msg, now})
		w.Write(append(line, '\n'))
		return
	}
	fmt.Fprintf(w, "time=%q level=%s msg=%q\n", now, level, msg)
}
