package loadtest

import "time"

// usage is what a set of processes uses.
type usage struct {
	cpu time.Duration // total of all processes ever seen, up to the last look at each
	rss int64
}

// findEvery is the number of looks between two searches for new processes, which read all of /proc.
const findEvery = 5

// observer measures the server's processes, if they run on this machine. A nil observer measures nothing.
type observer struct {
	procs processSet
	first usage
	last  usage
	looks int
	most  int   // connections that were open when rss was measured
	rss   int64 // with most connections open
}

// observe returns an observer of the process pid and its descendants, or of the processes that listen at t if pid is 0.
// It returns nil if there are none.
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

// look measures the current usage, while open connections exist.
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
