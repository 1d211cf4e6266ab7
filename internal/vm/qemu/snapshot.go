package qemu

import (
	"fmt"
	"os"
	"time"
)

// A snapshot is two files: what QEMU writes of its devices by a migration, and
// the guest's memory, which the migration leaves where it is (the capability
// x-ignore-shared: memory that is mapped shared from a file).

// migrateWait bounds a migration, which moves some hundred kilobytes.
const migrateWait = time.Minute

type capability struct {
	Capability string `json:"capability"`
	State      bool   `json:"state"`
}

func (v *machineVM) ignoreShared() error {
	return v.qmp.Do("migrate-set-capabilities", map[string]any{
		"capabilities": []capability{{"x-ignore-shared", true}},
	}, nil)
}

// Save stops the VM and writes its state.
func (v *machineVM) Save(state *os.File) error {
	if err := v.qmp.Do("stop", nil, nil); err != nil {
		return err
	}
	if err := v.ignoreShared(); err != nil {
		return err
	}
	if err := v.qmp.PassFD("state", state); err != nil {
		return err
	}
	if err := v.qmp.Do("migrate", map[string]string{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	return v.awaitMigration("query-migrate")
}

// Restore reads a state. The VM must have been started with Incoming.
func (v *machineVM) Restore(state *os.File) error {
	if err := v.ignoreShared(); err != nil {
		return err
	}
	if err := v.qmp.PassFD("state", state); err != nil {
		return err
	}
	if err := v.qmp.Do("migrate-incoming", map[string]string{"uri": "fd:state"}, nil); err != nil {
		return err
	}
	return v.awaitMigration("query-migrate")
}

// awaitMigration polls: the event would need one more capability, and it takes
// some milliseconds.
func (v *machineVM) awaitMigration(query string) error {
	pause := 2 * time.Millisecond
	for deadline := time.Now().Add(migrateWait); time.Now().Before(deadline); {
		var st struct {
			Status string `json:"status"`
			Error  string `json:"error-desc"`
		}
		if err := v.qmp.Do(query, nil, &st); err != nil {
			return err
		}
		switch st.Status {
		case "completed":
			return nil
		case "failed", "cancelled":
			return fmt.Errorf("snapshot: %s: %s", st.Status, st.Error)
		}
		time.Sleep(pause)
	}
	return fmt.Errorf("snapshot: not done within %v", migrateWait)
}
