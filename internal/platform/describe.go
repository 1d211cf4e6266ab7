package platform

import (
	"fmt"
	"sync/atomic"
)

// Describe says how the two sides of the thread wait for each other, for a report on
// a sandbox that does not go on. It may be called by anybody at any time, and
// waits for no lock.
func (t *Thread) Describe() string {
	if !t.area.mu.TryLock() {
		return fmt.Sprintf("host process %d, its slots are locked", t.proc.pid)
	}
	defer t.area.mu.Unlock()
	if t.area.slots[t.index] != t || t.freed {
		return fmt.Sprintf("host process %d, the slot was given back", t.proc.pid)
	}
	s := t.slot
	word := func(p *uint32) uint32 { return atomic.LoadUint32(p) }
	return fmt.Sprintf("host thread %d of %d, slot %d: turn %s, kind %d, call %d, sleeps: Sentry %d guest %d, parked %d, yields %d, mode %s on CPU %d, dead %v",
		word(&s.hostTID), t.proc.pid, t.index, turnName(word(&s.turn)), word(&s.kind), word(&s.nr), word(&s.sentrySleeps), word(&s.guestSleeps),
		word(&s.parked), word(&s.yields), modeName(t.policy.mode.Load()), t.policy.cpu.Load(), t.dead.Load())
}

func turnName(turn uint32) string {
	switch turn {
	case turnGuest:
		return "guest"
	case turnRequest:
		return "request"
	case turnReply:
		return "reply"
	case turnKick:
		return "kick"
	case turnPosted:
		return "posted"
	}
	return fmt.Sprint(turn)
}

func modeName(mode uint32) string {
	switch mode {
	case modeFree:
		return "free"
	case modeHand:
		return "hand"
	case modeSpin:
		return "spin"
	}
	return fmt.Sprint(mode)
}
