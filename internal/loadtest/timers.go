package loadtest

// timer is a time at which the loop has something to do. Timers cannot be canceled: gen tells whether a timer still
// belongs to the connection or user at ref.
type timer struct {
	at       int64
	ref, gen uint32
}

// timers is a heap of four branches with the earliest timer first. The zero value is empty.
type timers struct{ heap []timer }

func (t *timers) len() int { return len(t.heap) }

// next returns the earliest time. The heap must not be empty.
func (t *timers) next() int64 { return t.heap[0].at }

func (t *timers) add(x timer) {
	t.heap = append(t.heap, x)
	i := len(t.heap) - 1
	for i > 0 {
		up := (i - 1) / 4
		if t.heap[up].at <= x.at {
			break
		}
		t.heap[i] = t.heap[up]
		i = up
	}
	t.heap[i] = x
}

// take removes and returns the earliest timer. The heap must not be empty.
func (t *timers) take() timer {
	top, last := t.heap[0], len(t.heap)-1
	x := t.heap[last]
	t.heap = t.heap[:last]
	if last == 0 {
		return top
	}
	i := 0
	for {
		least := i*4 + 1
		if least >= last {
			break
		}
		for j := least + 1; j < min(i*4+5, last); j++ {
			if t.heap[j].at < t.heap[least].at {
				least = j
			}
		}
		if t.heap[least].at >= x.at {
			break
		}
		t.heap[i] = t.heap[least]
		i = least
	}
	t.heap[i] = x
	return top
}
