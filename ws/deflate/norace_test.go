//go:build !race

package deflate

// raceEnabled reports whether the race detector is on, which allocates and empties pools at random.
const raceEnabled = false
