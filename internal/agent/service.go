package agent

import (
	"context"
	"errors"
	"runtime"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"golang.org/x/sys/unix"

	"bulkhead.dev/bulkhead/internal/wire/agentpb"
)

// service is the API: what a request says, and the code of an error. What is
// to be done is done elsewhere.
type service struct{ a *Agent }

var _ agentpb.AgentService = (*service)(nil)

// fail gives an error its code.
func fail(err error) error {
	if err == nil {
		return nil
	}
	code := codes.Internal
	switch {
	case errors.Is(err, errNotFound):
		code = codes.NotFound
	case errors.Is(err, errExists):
		code = codes.AlreadyExists
	case errors.Is(err, errState):
		code = codes.FailedPrecondition
	case errors.Is(err, errInvalid), errors.Is(err, unix.EINVAL):
		code = codes.InvalidArgument
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EOPNOTSUPP):
		code = codes.Unimplemented
	case errors.Is(err, context.DeadlineExceeded):
		code = codes.DeadlineExceeded
	}
	return status.Error(code, err.Error())
}

func empty(err error) (*agentpb.Empty, error) { return &agentpb.Empty{}, fail(err) }

func answer[T any](v T, err error) (T, error) { return v, fail(err) }

func (s *service) Info(context.Context, *agentpb.InfoRequest) (*agentpb.InfoResponse, error) {
	var uts unix.Utsname
	_ = unix.Uname(&uts)
	out := &agentpb.InfoResponse{
		Version: agentpb.Version, Agent: s.a.version, KernelRelease: unix.ByteSliceToString(uts.Release[:]),
		Cpus: onlineCPUs(), InitNanos: s.a.initNanos, ChannelNanos: s.a.channelNanos, HelloNanos: s.a.helloNanos,
	}
	out.ModuleGroups, out.Modules = s.a.modules.report()
	out.MemoryBytes, _ = memInfo()
	return out, nil
}

// onlineCPUs counts those that the agent itself may run on.
func onlineCPUs() uint32 {
	var set unix.CPUSet
	if unix.SchedGetaffinity(1, &set) != nil {
		return uint32(runtime.NumCPU())
	}
	return uint32(set.Count())
}

func (s *service) Configure(_ context.Context, r *agentpb.Sandbox) (*agentpb.Empty, error) {
	return empty(s.a.configure(r))
}

func (s *service) Create(_ context.Context, r *agentpb.CreateRequest) (*agentpb.Started, error) {
	return answer(s.a.create(r))
}

func (s *service) Start(_ context.Context, r *agentpb.StartRequest) (*agentpb.Started, error) {
	return answer(s.a.start(r))
}

func (s *service) Exec(_ context.Context, r *agentpb.ExecRequest) (*agentpb.Started, error) {
	return answer(s.a.exec(r))
}

func (s *service) Signal(_ context.Context, r *agentpb.SignalRequest) (*agentpb.Empty, error) {
	return empty(s.a.signal(r))
}

func (s *service) Wait(ctx context.Context, r *agentpb.WaitRequest) (*agentpb.WaitResponse, error) {
	return answer(s.a.wait(r.ContainerId, r.ExecId, ctx.Done()))
}

func (s *service) Resize(_ context.Context, r *agentpb.ResizeRequest) (*agentpb.Empty, error) {
	_, p, err := s.a.process(r.ContainerId, r.ExecId)
	if err == nil {
		err = p.stdio.resize(r.Rows, r.Cols)
	}
	return empty(err)
}

func (s *service) Processes(_ context.Context, r *agentpb.ContainerRequest) (*agentpb.ProcessesResponse, error) {
	c, err := s.a.find(r.ContainerId)
	if err != nil {
		return nil, fail(err)
	}
	list, err := c.list()
	return answer(&agentpb.ProcessesResponse{Processes: list}, err)
}

func (s *service) Stats(_ context.Context, r *agentpb.ContainerRequest) (*agentpb.StatsResponse, error) {
	return answer(s.a.stats(r.ContainerId))
}

func (s *service) Update(_ context.Context, r *agentpb.UpdateRequest) (*agentpb.Empty, error) {
	c, err := s.a.find(r.ContainerId)
	if err == nil {
		err = c.cgroup.apply(r.Resources)
	}
	if err == nil && len(r.Resources.GetDevices()) > 0 {
		err = c.cgroup.setDevices(r.Resources.Devices)
	}
	return empty(err)
}

func (s *service) Pause(_ context.Context, r *agentpb.ContainerRequest) (*agentpb.Empty, error) {
	return empty(s.freeze(r.ContainerId, true))
}

func (s *service) Resume(_ context.Context, r *agentpb.ContainerRequest) (*agentpb.Empty, error) {
	return empty(s.freeze(r.ContainerId, false))
}

func (s *service) freeze(id string, on bool) error {
	c, err := s.a.find(id)
	if err != nil {
		return err
	}
	return c.cgroup.freeze(on)
}

func (s *service) Remove(_ context.Context, r *agentpb.ContainerRequest) (*agentpb.Empty, error) {
	return empty(s.a.remove(r.ContainerId))
}

func (s *service) NextEvent(ctx context.Context, _ *agentpb.Empty) (*agentpb.Event, error) {
	select {
	case e := <-s.a.events:
		return e, nil
	case <-ctx.Done():
		return nil, fail(ctx.Err())
	}
}

func (s *service) SetTime(_ context.Context, r *agentpb.Time) (*agentpb.Empty, error) {
	return empty(setTime(r))
}

func (s *service) Reseed(_ context.Context, r *agentpb.ReseedRequest) (*agentpb.Empty, error) {
	return empty(addRandom(r.Random))
}

func (s *service) PrepareSnapshot(ctx context.Context, r *agentpb.SnapshotRequest) (*agentpb.Empty, error) {
	return empty(s.a.stages.withAnswer(ctx, func() error { return s.a.prepareSnapshot(r) }))
}

func (s *service) Restored(_ context.Context, r *agentpb.RestoredRequest) (*agentpb.Empty, error) {
	if len(r.Random) < 32 {
		return nil, status.Error(codes.InvalidArgument, "random: a clone needs at least 32 bytes of its own")
	}
	return empty(s.a.configure(&agentpb.Sandbox{Time: r.Time, Random: r.Random}))
}

func (s *service) Shutdown(context.Context, *agentpb.Empty) (*agentpb.Empty, error) {
	// The answer is on its way when the power goes: the host closes the
	// channel once it has it, or after this.
	time.AfterFunc(shutdownGrace, s.a.powerOff)
	return &agentpb.Empty{}, nil
}

// shutdownGrace is for the answer to reach the host.
const shutdownGrace = 50 * time.Millisecond
