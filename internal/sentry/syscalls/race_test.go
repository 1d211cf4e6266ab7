//go:build race

package syscalls

// raceEnabled: pools lose entries on purpose under the race detector.
const raceEnabled = true
