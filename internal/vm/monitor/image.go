package monitor

import (
	"errors"

	"bulkhead.dev/bulkhead/internal/vm/guest"
)

func makeImage(c *guest.Cache, root string) (*guest.Entry, error) {
	return nil, errors.New("images of root file systems are not built yet")
}
