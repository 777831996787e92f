package conformance

import "sync"

// Delivery is how the bytes of a case are sent.
type Delivery uint8

// The deliveries.
const (
	// Whole sends the request, and then all frames in one write.
	Whole Delivery = iota
	// Together sends request and frames in one write. It applies if the frames do not depend on the answer.
	Together
	// Bytewise sends each byte in a write of its own. What is longer than a few thousand bytes is sent in as many pieces.
	Bytewise
	// CutHead waits at the gate in the middle of the first head.
	CutHead
	// CutFrames waits at the gate in the middle of the frames, and CutLast before their last byte. They apply if there
	// are any.
	CutFrames
	CutLast
)

// String returns the name of the delivery in reports.
func (d Delivery) String() string {
	return [...]string{
		"whole", "together", "bytewise", "moved in the head", "moved in the frames",
		"moved before the last byte",
	}[d]
}

// Plan is how cases are run.
type Plan struct {
	Name     string // of the combination, for reports
	Later    bool   // an HTTP request is answered on the connection before
	Delivery Delivery
	// Move is called once all cases have reached the gate, if Delivery is one of those with a cut. It moves all
	// connections to another process.
	Move func() error
	// Parallel is how many cases run at once. The zero value means 16. With a gate, all do.
	Parallel int
}

func (p *Plan) cuts() bool { return p.Delivery >= CutHead }

// gate is where all cases of a plan wait for each other.
type gate struct {
	arrived sync.WaitGroup
	open    chan struct{}
}

func newGate(n int) *gate {
	g := &gate{open: make(chan struct{})}
	g.arrived.Add(n)
	return g
}

// pass is a case's place at the gate.
type pass struct {
	gate *gate
	once sync.Once
}

// arrive makes the others not wait for this case. Only the first call counts.
func (p *pass) arrive() {
	if p.gate != nil {
		p.once.Do(p.gate.arrived.Done)
	}
}

// wait blocks until all cases have arrived and connections have moved.
func (p *pass) wait() {
	p.arrive()
	if p.gate != nil {
		<-p.gate.open
	}
}
