//go:build !race

package broker_test

func raceEnabled() bool { return false }
