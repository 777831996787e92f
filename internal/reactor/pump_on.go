//go:build pump

package reactor

const onlyPumps = true
