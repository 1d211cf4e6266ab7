package wire

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// SentryFirstGC is how much memory a Sentry's runtime takes before it collects
// garbage for the first time, in bytes: the lifecycle says so in its
// environment, as GOGC=off and GOMEMLIMIT.
const SentryFirstGC = 12 << 20

// maxConfig bounds what is read from a --config-fd.
const maxConfig = 16 << 20

// ReadConfig decodes what a --config-fd has, packed or as JSON, into config
// (*SentryConfig or *GoferConfig) and closes the descriptor. It reads to end of file, which the
// lifecycle holds back until the process is in its cgroups.
func ReadConfig(fd int, config any) error {
	f := os.NewFile(uintptr(fd), "config")
	if f == nil {
		return fmt.Errorf("--config-fd=%d: %w", fd, unix.EBADF)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return fmt.Errorf("--config-fd=%d: %w", fd, err)
	}
	if len(raw) > maxConfig {
		return fmt.Errorf("--config-fd=%d: configuration is longer than %d bytes", fd, maxConfig)
	}
	if len(raw) == 0 {
		return fmt.Errorf("--config-fd=%d: no configuration: whoever started this process gave up", fd)
	}
	if raw[0] == packed {
		err = Unpack(raw, config)
	} else {
		err = json.Unmarshal(raw, config)
	}
	if err != nil {
		return fmt.Errorf("--config-fd=%d: %w", fd, err)
	}
	return nil
}

// ReadyOK is the Ready message of a sandbox that is loaded: it is compared as it
// is, since a decoder's first use takes long.
const ReadyOK = "{\"ok\":true}\n"

// WriteReady reports on --ready-fd that the sandbox is loaded (err is nil) or
// why it is not, and closes the descriptor. A unix.Errno or *ControlError in
// err keeps its number.
func WriteReady(fd int, err error) error {
	raw := []byte(ReadyOK)
	if err != nil {
		ce := asControlError(err)
		msg := Ready{Error: ce.Message, Errno: ce.Errno}
		var merr error
		if raw, merr = json.Marshal(&msg); merr != nil {
			return merr
		}
		raw = append(raw, '\n')
	}
	for len(raw) > 0 {
		n, err := unix.Write(fd, raw)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			unix.Close(fd)
			return fmt.Errorf("--ready-fd=%d: %w", fd, err)
		}
		raw = raw[n:]
	}
	return unix.Close(fd)
}
