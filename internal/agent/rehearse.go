package agent

import (
	"runtime"
	godebug "runtime/debug"
	"sync"

	"golang.org/x/sys/unix"
	"google.golang.org/protobuf/proto"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// rehearse does before a snapshot what every clone would have to do for its
// first container and what is the same for all: its cgroup with the default
// device rules, the disks' names, the inotify instance, the tables that the
// messages' code makes on first use. Under the translator all that is done for
// the first time costs ten times as much as once more.
func (a *Agent) rehearse() {
	if c, err := newCgroup(agentpb.FirstContainer); err == nil {
		if err := c.setDevices(nil); err != nil {
			say("rehearsal: %v", err)
		}
		a.spare = c
	}
	a.storageMu.Lock()
	a.disks, _ = disksBySerial()
	a.storageMu.Unlock()
	a.openInotify()
	rehearseMessages()
	spareThreads()
	// Whatever is free now need not be in the snapshot.
	runtime.GC()
	godebug.FreeOSMemory()
}

// spareThreads leaves the runtime some threads: to make one is a hundred times
// as dear in a clone as to wake one.
func spareThreads() {
	const count = 4
	var all sync.WaitGroup
	for range count {
		all.Go(func() { _, _ = unix.Poll(nil, 50) }) // a call that the runtime takes for long
	}
	all.Wait()
}

// takeCgroup gives the cgroup that was made ahead, or makes one.
func (a *Agent) takeCgroup(id string) (*cgroup, error) {
	a.mu.Lock()
	spare := a.spare
	if id == agentpb.FirstContainer {
		a.spare = nil
	}
	a.mu.Unlock()
	if spare != nil && id == agentpb.FirstContainer {
		return spare, nil
	}
	return newCgroup(id)
}

// rehearseMessages encodes and decodes what a first container is made with.
func rehearseMessages() {
	storage := &agentpb.Storage{Source: &agentpb.Storage_BlockSerial{BlockSerial: "-"}, FsType: "-"}
	for _, m := range []proto.Message{
		&agentpb.CreateRequest{
			ContainerId: "-",
			Container: &agentpb.Container{
				Process: &agentpb.Process{
					Args: []string{"-"}, Rlimits: []*agentpb.Rlimit{{Resource: 1}},
					Capabilities: &agentpb.Capabilities{},
				},
				Root: &agentpb.Root{Storage: storage}, Mounts: []*agentpb.Mount{{Type: "-", Bind: &agentpb.Bind{Storage: storage}}},
				Devices: []*agentpb.Device{{Path: "-"}}, Seccomp: &agentpb.Seccomp{}, Namespaces: &agentpb.Namespaces{},
				Resources: &agentpb.Resources{Devices: []*agentpb.DeviceRule{{Type: "a"}}},
			},
			Sandbox: &agentpb.Sandbox{Time: &agentpb.Time{}, Network: &agentpb.Network{}},
			Streams: &agentpb.Streams{},
		},
		&agentpb.StartRequest{}, &agentpb.Started{Pid: 1}, &agentpb.WaitRequest{ContainerId: "-"}, &agentpb.WaitResponse{ExitedAt: 1},
		&agentpb.Empty{},
	} {
		if raw, err := proto.Marshal(m); err == nil {
			_ = proto.Unmarshal(raw, m.ProtoReflect().New().Interface())
		}
	}
}
