//go:build race

package engine

// raceEnabled: the race detector allocates by itself.
const raceEnabled = true
