package engine

import (
	"container/heap"
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	const rate = 1 << 20 // burst 256 KiB; 1 KiB takes 976,562 ns
	tests := []struct {
		name  string
		rate  int64
		takes []int // at time 0
		due   int64 // of the last take
	}{
		{"no bound: never waits", 0, []int{1 << 30}, 0},
		{"the burst passes at once", rate, []int{256 << 10}, 0},
		{"what is beyond waits for as long as it flows in", rate, []int{256 << 10, 1 << 20}, second},
		{"several waits add up", rate, []int{256 << 10, 512 << 10, 512 << 10}, second},
		{"too small a rate is the least", 1, []int{minBurst, MinRate}, second},
		{"64 KiB pass at once at any rate", MinRate, []int{minBurst}, 0},
		{"large numbers do not overflow", 1 << 40, []int{1 << 50}, (1<<10)*second - second/burstPart},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, full, due := newBucket(tt.rate), int64(0), int64(0)
			for _, n := range tt.takes {
				due = b.take(&full, n, 0)
			}
			if due = max(due, 0); due != tt.due {
				t.Errorf("due at %d, want %d", due, tt.due)
			}
		})
	}
}

// demand is a connection of a simulation that always wants to pass want bytes.
type demand struct {
	turn
	want, passed int
	latest       int64 // the longest wait
	began        int64
	place        int // order among those that are due at the same time
}

type demands []*demand

// Len implements heap.Interface.
func (d demands) Len() int { return len(d) }

// Less orders by due time, and then by place.
func (d demands) Less(i, j int) bool {
	if d[i].due == d[j].due {
		return d[i].place < d[j].place
	}
	return d[i].due < d[j].due
}

// Swap implements heap.Interface.
func (d demands) Swap(i, j int) { d[i], d[j] = d[j], d[i] }

// Push implements heap.Interface.
func (d *demands) Push(x any) { *d = append(*d, x.(*demand)) }

// Pop implements heap.Interface.
func (d *demands) Pop() any {
	last := (*d)[len(*d)-1]
	*d = (*d)[:len(*d)-1]
	return last
}

// simulate lets all demands pass what they may for some time. Waits end late, as those of the loop do.
func simulate(l *lane, all []*demand, length, late time.Duration) {
	var waiting demands
	for i, d := range all {
		d.began, d.place = 1, i
		l.book(&d.turn, d.want, 1)
		heap.Push(&waiting, d)
	}
	for now, place := int64(1), len(all); now < int64(length); place++ {
		d := waiting[0]
		if d.due > now {
			now = d.due + int64(late)
			continue
		}
		d.passed += l.claim(&d.turn, now)
		d.latest, d.began, d.place = max(d.latest, now-d.began), now, place
		l.book(&d.turn, d.want, now)
		heap.Fix(&waiting, 0)
	}
}

// TestAllTakeTurns: connections that want as much as there is get equal shares and the full rate together. One that
// wants little waits for at most a round.
func TestAllTakeTurns(t *testing.T) {
	const length = 20 * time.Second
	for _, tt := range []struct {
		name     string
		own, all int64
		greedy   int
	}{
		{"one", 0, 1 << 20, 1},
		{"two", 0, 1 << 20, 2},
		{"a thousand", 0, 64 << 20, 1000},
		{"each has a rate of its own too", 1 << 20, 8 << 20, 16},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := newLane(tt.own, tt.all, limitRateOut)
			list := make([]*demand, tt.greedy+1)
			for i := range list {
				list[i] = &demand{want: 1 << 20}
			}
			modest := list[tt.greedy]
			modest.want = 100
			simulate(&l, list, length, 100*time.Millisecond)
			sum, least, most := modest.passed, list[0].passed, list[0].passed
			for _, d := range list[:tt.greedy] {
				sum, least, most = sum+d.passed, min(least, d.passed), max(most, d.passed)
			}
			want := int(tt.all) * int(length/time.Second)
			if burst := int(l.all.burst); sum > want+2*burst || sum < want-2*burst {
				t.Errorf("together %d bytes, want %d give or take two bursts of %d", sum, want, burst)
			}
			if most-least > 4*maxShare {
				t.Errorf("one got %d bytes and another %d, want the same give or take some shares", least, most)
			}
			round := time.Duration(tt.greedy*minShare*second/int(tt.all)) + second/burstPart + 100*time.Millisecond
			if got := time.Duration(modest.latest); got > 2*round {
				t.Errorf("who wants little waited for %v, want less than two rounds of %v", got, round)
			}
		})
	}
}

// TestSmallReadsReachTheRate: reads that bring little do not reserve as much as large ones.
func TestSmallReadsReachTheRate(t *testing.T) {
	p := newRateLimiter(Rate{}, Rate{In: 1 << 20})
	now := int64(1)
	p.now = func() int64 { return now }
	const conns, size, length = 500, 100, 10 * second
	passed := 0
	for ; now < length; now += second / 100 {
		for i := range uint32(conns) {
			for range 100 {
				reserved, most, _ := p.askRead(i)
				if reserved == 0 {
					break
				}
				if most < size {
					t.Fatalf("a read may bring %d bytes", most)
				}
				p.settle(i, dirIn, reserved, size)
				passed += size
			}
		}
	}
	if want := 10 << 20; passed < want*9/10 || passed > want+want/10 {
		t.Errorf("got %d bytes, want about %d", passed, want)
	}
}

// TestRateLimiterForgets: a connection whose buckets are full again has no entry.
func TestRateLimiterForgets(t *testing.T) {
	p := newRateLimiter(Rate{In: MinRate}, Rate{})
	now := int64(1)
	p.now = func() int64 { return now }
	touch := func(from, to uint32) {
		for i := from; i < to; i++ {
			n, _ := p.ask(i, dirIn, 10)
			p.settle(i, dirIn, n, 10)
		}
	}
	touch(0, 10*minSweep)
	if got := len(p.turns); got != 10*minSweep {
		t.Errorf("%d entries, want all that are not full", got)
	}
	now = int64(time.Hour)
	touch(10*minSweep, 40*minSweep)
	if got := len(p.turns); got != 30*minSweep {
		t.Errorf("%d entries, want those of this hour", got)
	}
	for i := range uint32(40 * minSweep) {
		p.forget(i)
	}
	if got := len(p.turns); got != 0 || p.lanes[dirIn].waiting != 0 {
		t.Errorf("%d entries, %d wait; want none", got, p.lanes[dirIn].waiting)
	}
}

// TestWhatWasNotUsedIsGivenBack: a reservation that was too large costs only what has passed.
func TestWhatWasNotUsedIsGivenBack(t *testing.T) {
	p := newRateLimiter(Rate{Out: MinRate}, Rate{Out: MinRate})
	p.now = func() int64 { return 1 }
	passed := 0
	for range 10 * minBurst / 100 {
		n, _ := p.ask(7, dirOut, minShare)
		if n == 0 {
			break
		}
		p.settle(7, dirOut, n, min(n, 100))
		passed += min(n, 100)
	}
	if passed > minBurst || passed < minBurst-minShare {
		t.Errorf("%d bytes passed at once, want the burst of %d but for a share", passed, minBurst)
	}
	p.unwait(7, dirOut)
	left := minBurst - passed - 1 // the rest is lost by rounding
	if n, _ := p.ask(7, dirOut, left); n != left {
		t.Errorf("got %d of the %d bytes that are left", n, left)
	}
}
