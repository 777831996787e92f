package telemetry

import "runtime/metrics"

// ReadProcess sets what the runtime and the kernel report about this process: HeapBytes (live objects and those not
// swept yet), Goroutines, and RSSBytes (resident memory including shared pages; 0 if unknown). It takes microseconds
// and does not stop the world.
func (w *Report) ReadProcess() {
	samples := [...]metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(samples[:])
	if v := samples[0].Value; v.Kind() == metrics.KindUint64 {
		w.HeapBytes = v.Uint64()
	}
	if v := samples[1].Value; v.Kind() == metrics.KindUint64 {
		w.Goroutines = int64(v.Uint64())
	}
	w.RSSBytes = residentBytes()
}
