//go:build !pump

package reactor

// onlyPumps is set with the build tag pump: every socket is then a pump, as on a platform without a poller. So the
// conformance suite runs a whole server on pumps.
const onlyPumps = false
