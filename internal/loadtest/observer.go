package loadtest

import "time"

// usage is what some processes use at a moment.
type usage struct {
	cpu time.Duration // of all that were ever seen, as far as it was
	rss int64
}

// findEvery is the number of looks after which new processes are searched for: that reads all of /proc.
const findEvery = 5

// observer watches the server's processes, if they are on this machine. A nil observer sees none.
type observer struct {
	procs processSet
	first usage
	last  usage
	looks int
	most  int   // connections that were open when rss was taken
	rss   int64 // of that time
}

// observe finds the server of t, or the process pid and those it has started. It returns nil if there is none to see.
func observe(t *target, pid int) *observer {
	if pid < 0 || t == nil && pid == 0 {
		return nil
	}
	var roots []int
	if pid > 0 {
		roots = []int{pid}
	} else {
		roots = listenersOf(t)
	}
	if len(roots) == 0 {
		return nil
	}
	o := &observer{procs: processSet{roots: roots}}
	o.first = o.procs.look(true)
	o.last = o.first
	o.rss = o.first.rss
	if len(o.procs.pids()) == 0 {
		return nil
	}
	return o
}

// look takes the present usage, while open connections are there.
func (o *observer) look(open int) {
	if o == nil {
		return
	}
	o.looks++
	o.last = o.procs.look(o.looks%findEvery == 0)
	if open > o.most || open == o.most && o.last.rss > o.rss {
		o.most, o.rss = open, o.last.rss
	}
}

func (o *observer) report() *Server {
	if o == nil {
		return nil
	}
	s := &Server{PIDs: o.procs.pids(), CPUSeconds: (o.last.cpu - o.first.cpu).Seconds(), RSSBytes: o.rss}
	if o.most > 0 {
		s.BytesPerConnection = float64(max(o.rss-o.first.rss, 0)) / float64(o.most)
	}
	return s
}
