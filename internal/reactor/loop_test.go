package reactor_test

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/expedite-go/expedite/internal/reactor"
)

func TestPostsRunInOrderAndAllThatWereTaken(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		const posters, each = 8, 500
		var ran [posters][]int // written on the loop
		l, err := reactor.New(&script{}, kd.opt)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- l.Run() }()
		var taken [posters]int
		var wg sync.WaitGroup
		for p := range posters {
			wg.Go(func() {
				for i := range each {
					if !l.Post(func() { ran[p] = append(ran[p], i) }) {
						return
					}
					taken[p]++
					if p == 0 && i == each/2 {
						l.Stop()
					}
				}
			})
		}
		wg.Wait()
		if err := await(t, ended, "Run to end"); err != nil {
			t.Errorf("Run: %v", err)
		}
		for p := range posters {
			if len(ran[p]) != taken[p] {
				t.Errorf("poster %d: %d ran, want the %d that were taken", p, len(ran[p]), taken[p])
			}
			for i, got := range ran[p] {
				if got != i {
					t.Fatalf("poster %d: %d ran where %d was due", p, got, i)
				}
			}
		}
		if l.Post(func() { t.Error("a post ran after Stop") }) {
			t.Error("Post after Stop reports true")
		}
		l.Wake()
		l.Stop()
		if l.Run() == nil {
			t.Error("a second Run succeeds")
		}
	})
}

func TestStopBeforeRun(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		l, err := reactor.New(&script{}, kd.opt)
		if err != nil {
			t.Fatal(err)
		}
		ran := false
		l.Post(func() { ran = true })
		l.Stop()
		if err := l.Run(); err != nil || !ran {
			t.Errorf("Run: %v; what was posted before Stop ran: %v", err, ran)
		}
	})
}

// TestAFlushFollowsEachWake: goroutines change something, wake the loop, and wait until a Flush has seen the change.
func TestAFlushFollowsEachWake(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		const wakers, each = 4, 500
		var wanted atomic.Int64
		var seen int64
		var mu sync.Mutex
		cond := sync.NewCond(&mu)
		r := newRig(t, kd, &script{flush: func() {
			mu.Lock()
			defer mu.Unlock()
			seen = wanted.Load()
			cond.Broadcast()
		}})
		r.start()
		all := make(chan struct{})
		var wg sync.WaitGroup
		for range wakers {
			wg.Go(func() {
				for range each {
					mine := wanted.Add(1)
					r.loop.Wake()
					mu.Lock()
					for seen < mine {
						cond.Wait()
					}
					mu.Unlock()
				}
			})
		}
		go func() { wg.Wait(); close(all) }()
		await(t, all, "a Flush after each Wake")
	})
}

func TestWakeInFlushMakesAnotherTurn(t *testing.T) {
	forEachKind(t, func(t *testing.T, kd kind) {
		var r *rig
		left, done := 100, make(chan struct{})
		r = newRig(t, kd, &script{flush: func() {
			if left--; left == 0 {
				close(done)
			}
			if left > 0 {
				r.loop.Wake()
			}
		}})
		r.start()
		r.loop.Wake()
		await(t, done, "a hundred turns")
	})
}

// TestCollectionsEndWhileTheLoopRuns: a loop in a raw wait must not prevent a stop of the world.
func TestCollectionsEndWhileTheLoopRuns(t *testing.T) {
	for _, procs := range []int{1, 2} {
		for _, busy := range []bool{false, true} {
			forEachKind(t, func(t *testing.T, kd kind) {
				if procs == 1 && kd.opt.Wait == reactor.WaitRaw {
					t.Skip("WaitRaw requires a second processor")
				}
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				r, _ := newEchoRig(t, kd)
				end := r.connect()
				r.do(func() {
					if busy {
						r.loop.Again(end.key, reactor.Readable)
					}
				})
				stop, echoed := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(echoed)
					for {
						select {
						case <-stop:
							return
						default:
						}
						if busy && exchange(end.client, []byte("x")) != nil {
							return
						}
						if !busy {
							<-stop
							return
						}
					}
				}()
				done := make(chan struct{})
				go func() {
					defer close(done)
					for range 5 {
						runtime.GC()
					}
				}()
				await(t, done, "five collections")
				close(stop)
				await(t, echoed, "the client")
			})
		}
	}
}

func TestBufferBeginsOffThePage(t *testing.T) {
	for _, size := range []int{1, 4096, 100_000, 256 << 10} {
		r := newRig(t, kind{opt: reactor.Options{ReadBuffer: size}}, &script{})
		r.start()
		b := r.loop.Buffer()
		if len(b) != size || cap(b) != size {
			t.Errorf("length %d, capacity %d, want %d", len(b), cap(b), size)
		}
		if got := uintptr(unsafe.Pointer(&b[0])) % 4096; got != 1024+50 {
			t.Errorf("the buffer of %d bytes begins at %d of its page, want 1074", size, got)
		}
	}
}

func TestStatsAndLag(t *testing.T) {
	r := newRig(t, kind{opt: reactor.Options{}}, &script{})
	r.start()
	r.do(func() {
		for began := reactor.Monotonic(); reactor.Monotonic()-began < int64(2*time.Millisecond); {
		}
	})
	r.do(func() {}) // the turn before has ended
	if got := r.loop.Lag(); got < 2*time.Millisecond {
		t.Errorf("lag %v, want the turn that took 2 ms", got)
	}
	if got := r.loop.Stats(); got.Turns == 0 || got.Sockets != 0 {
		t.Errorf("stats %+v, want turns and no sockets", got)
	}
}
