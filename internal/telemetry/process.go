package telemetry

import "runtime/metrics"

// ReadProcess fills in what the runtime and the kernel say of this process: HeapBytes (live and not yet swept
// objects), Goroutines, and RSSBytes (resident memory, shared pages included; 0 where the system does not tell). It
// takes microseconds and does not stop the world.
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
