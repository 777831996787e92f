package main

import (
	"fmt"

	"github.com/expedite-go/expedite"
)

// tuneFlags limit the resources that the server uses.
type tuneFlags struct {
	Memory  string `help:"Limit of all heaps, like 4GiB. Default: 80 % of the memory." placeholder:"SIZE"`
	Reserve string `name:"memory-reserve" help:"Free memory that is kept, or off. Default: 5 %." placeholder:"SIZE"`
	GOGC    int    `name:"gogc" help:"Heap growth until a collection, in percent; -1: off." placeholder:"100"`
	Procs   int    `help:"Processors of a worker. Default: its share of the cores and 1." placeholder:"N"`
	ConnIn  string `name:"conn-rate-in" help:"Bytes per second from one client, like 64KiB." placeholder:"RATE"`
	ConnOut string `name:"conn-rate-out" help:"Bytes per second to one client." placeholder:"RATE"`
	RateIn  string `name:"rate-in" help:"Bytes per second from all clients." placeholder:"RATE"`
	RateOut string `name:"rate-out" help:"Bytes per second to all clients." placeholder:"RATE"`
}

// config returns the settings that the flags stand for.
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
