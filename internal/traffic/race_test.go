//go:build race

package traffic

// raceEnabled reports whether the race detector is on, with which compression takes ten times as long.
const raceEnabled = true
