package main

import (
	"fmt"

	"github.com/expedite-go/expedite"
)

// tuneFlags are what the server may take of the machine.
type tuneFlags struct {
	Memory  string `help:"What all heaps may hold, like 4GiB. Default: 80 % of the memory." placeholder:"SIZE"`
	Reserve string `name:"memory-reserve" help:"Refuse clients when less is left; off: never." placeholder:"SIZE"`
	GOGC    int    `name:"gogc" help:"How much a heap grows until it is collected, in percent; -1: off." placeholder:"100"`
	Procs   int    `help:"Processors that each worker uses at once." placeholder:"N"`
	ConnIn  string `name:"conn-rate-in" help:"Bytes per second that one client may send, like 64KiB." placeholder:"RATE"`
	ConnOut string `name:"conn-rate-out" help:"Bytes per second that are sent to one client." placeholder:"RATE"`
	RateIn  string `name:"rate-in" help:"Bytes per second from all clients together." placeholder:"RATE"`
	RateOut string `name:"rate-out" help:"Bytes per second to all clients together." placeholder:"RATE"`
}

// config makes sense of the flags.
func (f *tuneFlags) config() (t expedite.Tuning, err error) {
	if f.Procs < 0 {
		return t, usageError{fmt.Errorf("--procs %d: want 0 or more", f.Procs)}
	}
	t.GOGC, t.Procs = f.GOGC, f.Procs
	if f.Reserve == "off" {
		t.MemoryReserve, f.Reserve = -1, ""
	}
	for _, size := range []struct {
		flag, text string
		to         *int64
	}{
		{"--memory", f.Memory, &t.Memory},
		{"--memory-reserve", f.Reserve, &t.MemoryReserve},
		{"--conn-rate-in", f.ConnIn, &t.ConnRate.In},
		{"--conn-rate-out", f.ConnOut, &t.ConnRate.Out},
		{"--rate-in", f.RateIn, &t.Rate.In},
		{"--rate-out", f.RateOut, &t.Rate.Out},
	} {
		if size.text == "" {
			continue
		}
		if *size.to, err = parseSize(size.flag, size.text); err != nil {
			return t, err
		}
	}
	return t, nil
}
