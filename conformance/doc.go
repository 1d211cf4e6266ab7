// Package conformance holds the proof that the Sentry behaves as Linux does: guest programs in C whose cases assert
// exact results, each run on the host's own kernel first (the oracle) and then behind the wall, and scripts that drive
// real programs in the same two places. Everything is in its tests; README.md tells how to add and run cases.
package conformance
