package audit

import (
	"fmt"
	"slices"

	profiles "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// ProfileModule is where the default profile comes from.
const ProfileModule = "github.com/moby/profiles/seccomp v0.3.0"

// profile is the default seccomp profile, for a container with these
// capabilities on this kernel.
type profile struct {
	Module  string   `json:"module"`
	Free    []string `json:"allowed"`              // whatever the arguments
	Checked []string `json:"allowed_by_arguments"` // by arguments
	Refused []string `json:"refused"`              // of the calls of x86-64
}

// defaultProfile makes it for a bundle that grants these capabilities.
func defaultProfile(caps []string) (*specs.LinuxSeccomp, error) {
	s := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
	p, err := profiles.GetDefaultProfile(s)
	if err != nil {
		return nil, fmt.Errorf("the default profile: %w", err)
	}
	return p, nil
}

// describeProfile sorts the calls of x86-64 by what the profile does.
func describeProfile(s *specs.LinuxSeccomp) *profile {
	how := map[string]allowance{}
	for _, c := range s.Syscalls {
		if c.Action != specs.ActAllow && c.Action != specs.ActLog {
			continue
		}
		for _, n := range c.Names {
			a := always
			if len(c.Args) > 0 {
				a = some
			}
			how[n] = max(how[n], a)
		}
	}
	p := &profile{Module: ProfileModule}
	for nr := uint32(0); nr <= lastNumber; nr++ {
		name := callNames().byNr[nr]
		if name == "" {
			continue
		}
		switch how[name] {
		case always:
			p.Free = append(p.Free, name)
		case some:
			p.Checked = append(p.Checked, name)
		default:
			p.Refused = append(p.Refused, name)
		}
	}
	return p
}

// allows says what the profile does with a call.
func (p *profile) allows(name string) allowance {
	switch {
	case slices.Contains(p.Free, name):
		return always
	case slices.Contains(p.Checked, name):
		return some
	}
	return never
}
