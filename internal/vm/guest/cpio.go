package guest

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// cpioWriter writes the "newc" format of initramfs
// (Documentation/driver-api/early-userspace/buffer-format.rst): for each file
//
//	"070701" ino mode uid gid nlink mtime filesize major minor rmajor rminor namesize check
//	         each 8 hex digits; then the name with NUL, padded to 4; then the data, padded to 4
//
// and an entry "TRAILER!!!" at the end.
type cpioWriter struct {
	w   *bufio.Writer
	ino uint32
	err error
}

func newCpio(w io.Writer) *cpioWriter { return &cpioWriter{w: bufio.NewWriterSize(w, 1<<20)} }

const (
	cpioDir  = 0o040000
	cpioChar = 0o020000
	cpioFile = 0o100000
)

func (c *cpioWriter) dir(name string) { c.entry(name, cpioDir|0o755, 0, 0, nil) }

func (c *cpioWriter) device(name string, perm, major, minor uint32) {
	c.entry(name, cpioChar|perm, major, minor, nil)
}

func (c *cpioWriter) file(name string, perm uint32, data []byte) {
	c.entry(name, cpioFile|perm, 0, 0, data)
}

func (c *cpioWriter) entry(name string, mode, major, minor uint32, data []byte) {
	c.ino++
	nlink := 1
	if mode&0o170000 == cpioDir {
		nlink = 2
	}
	if len(data) > 1<<31 {
		c.fail(fmt.Errorf("cpio: %s: %d bytes are too many", name, len(data)))
		return
	}
	header := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		c.ino, mode, 0, 0, nlink, 0, len(data), 0, 0, major, minor, len(name)+1, 0)
	c.padded(header + name + "\x00")
	if _, err := c.w.Write(data); err != nil {
		c.fail(err)
	}
	c.pad(len(data))
}

func (c *cpioWriter) padded(s string) {
	if _, err := c.w.WriteString(s); err != nil {
		c.fail(err)
	}
	c.pad(len(s))
}

func (c *cpioWriter) pad(n int) {
	if _, err := c.w.WriteString(strings.Repeat("\x00", -n&3)); err != nil {
		c.fail(err)
	}
}

func (c *cpioWriter) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// close ends the archive.
func (c *cpioWriter) close() error {
	c.ino = 0
	c.entry("TRAILER!!!", 0, 0, 0, nil)
	c.fail(c.w.Flush())
	return c.err
}
