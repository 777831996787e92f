package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/ws"

	"github.com/expedite-go/expedite/ws/deflate"
)

// Run is a running load of clients. Start creates it.
type Run struct {
	cfg      Config
	corpus   corpus
	clients  []*client
	tally    tally
	rtt      histogram
	window   atomic.Pointer[histogram] // round-trip times since Mark
	arrivals atomic.Uint64             // counts everything received, so that await can detect silence
	stopping chan struct{}
	work     sync.WaitGroup
	codec    deflate.Codec
}

// Start opens all clients and returns when each has received its first message. The context bounds Start only, not the
// run. If Start fails, it leaves no connection or goroutine behind.
func Start(ctx context.Context, cfg Config) (*Run, error) {
	r := &Run{cfg: cfg.withDefaults(), stopping: make(chan struct{})}
	r.corpus = newCorpus(rand.New(rand.NewPCG(cfg.Seed, 0)))
	if cfg.Compression {
		r.corpus = chatCorpus(r.corpus, cfg.Seed)
	}
	r.window.Store(new(histogram))
	r.invite()
	err := r.open(ctx)
	if err == nil {
		err = r.awaitFirst(ctx)
	}
	if err != nil {
		r.abandon()
		return nil, err
	}
	for i := range cfg.Churn {
		r.work.Add(1)
		go r.churn(uint32(len(r.clients) + 1 + i))
	}
	return r, nil
}

// compress makes l offer compression if the run does.
func (r *Run) compress(l *link, number uint32) {
	if r.cfg.Compression {
		l.offer, l.codec = offers[int(number)%len(offers)], &r.codec
	}
}

// invite creates the clients.
func (r *Run) invite() {
	cfg := r.cfg
	for i := range cfg.Small {
		r.newClient("small", &small{echoes: newEchoes(i, smallWindow, 0)})
	}
	for i := range cfg.Fragmented {
		r.newClient("fragmented", &fragmented{echoes: newEchoes(i, 1, 0)})
	}
	for i := range cfg.Dribbling {
		c := r.newClient("dribbling", &dribbling{newEchoes(i, 2, 0)})
		c.dribble = cut{dribbleLeast, dribbleMost, time.Millisecond}
	}
	flying := slowFlying
	if cfg.TLS != nil {
		flying = slowFlyingTLS
	}
	for i := range cfg.Slow {
		c := r.newClient("slow", &slow{newEchoes(i, flying/slowLeast, flying)})
		c.control = narrow
	}
	tag := rand.Uint64() // another run may use the same seed and the same server
	for i := range cfg.Counting {
		user := fmt.Sprintf("counting-%x-%d", tag, i)
		r.newClient("counting", &counting{newEchoes(0, smallWindow, 0), user})
	}
	for i := range cfg.Topics {
		t := &topic{name: fmt.Sprintf("traffic-%x-%d", tag, i)}
		t.publisher = r.newClient("publisher", &listener{topic: t, as: "publisher", seq: sequence{next: 1}}).sender
		for range cfg.SubscribersPerTopic {
			r.newClient("subscriber", &listener{topic: t, as: "subscriber"})
		}
	}
	var alone *directed
	for i := range cfg.Directed {
		d := newDirected(fmt.Sprint("user-", i))
		if r.newClient("directed", d); alone != nil {
			d.peer, alone.peer, alone = alone, d, nil
		} else {
			alone = d
		}
	}
}

// maxOpening limits concurrent handshakes.
const maxOpening = 64

// open connects the clients.
func (r *Run) open(ctx context.Context) error {
	slots := make(chan struct{}, maxOpening)
	errs := make(chan error, len(r.clients))
	for _, c := range r.clients {
		slots <- struct{}{}
		go func() { // ends with the handshake, which ctx bounds
			defer func() { <-slots }()
			errs <- c.start(ctx)
		}()
	}
	var first error
	for range r.clients {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

func (r *Run) awaitFirst(ctx context.Context) error {
	for _, c := range r.clients {
		select {
		case <-c.ready:
		case <-c.gone:
			return fmt.Errorf("traffic: %s %d ended before its first message: %q", c.kind, c.sender, r.tally.report().Problems)
		case <-ctx.Done():
			return fmt.Errorf("traffic: %s %d got no message: %w: %q", c.kind, c.sender, ctx.Err(), r.tally.report().Problems)
		}
	}
	return nil
}

// abandon closes all connections at once.
func (r *Run) abandon() {
	close(r.stopping)
	for _, c := range r.clients {
		if c.nc != nil {
			_ = c.nc.Close()
		}
	}
	r.work.Wait()
}

// Snapshot returns the report so far.
func (r *Run) Snapshot() Report {
	report := r.tally.report()
	report.RTT = r.rtt.percentiles()
	return report
}

// Mark returns the round-trip times since the previous call, or since Start, and starts a new measurement.
func (r *Run) Mark() Percentiles { return r.window.Swap(new(histogram)).percentiles() }

// Stop lets every client finish the message that it is sending and waits for all outstanding messages. It then closes
// the clients with code 1000 and returns the final report. Messages still missing when ctx ends, or after
// Config.Patience without any arrival, are counted as lost.
func (r *Run) Stop(ctx context.Context) Report {
	close(r.stopping)
	r.await(ctx, (*client).isQuiet)
	for _, c := range r.clients {
		if !c.isQuiet() {
			_ = c.nc.SetWriteDeadline(time.Unix(1, 0)) // the server has stopped reading: counts as a disconnection
		}
	}
	for _, c := range r.clients {
		<-c.quiet
	}
	r.await(ctx, (*client).isComplete)
	for _, c := range r.clients {
		if n, _ := c.player.owed(); n > 0 {
			c.fault(&r.tally.lost, n, "%d messages or pongs did not come", n)
		}
	}
	r.close()
	r.work.Wait()
	return r.Snapshot()
}

// checkTime is the interval at which await checks the clients.
const checkTime = 5 * time.Millisecond

// await blocks until is reports true for all clients. It gives up when ctx ends or when nothing arrives for
// Config.Patience.
func (r *Run) await(ctx context.Context, is func(*client) bool) {
	ticker := time.NewTicker(checkTime)
	defer ticker.Stop()
	arrived, since := r.arrivals.Load(), time.Now()
	for i := 0; ; {
		for i < len(r.clients) && is(r.clients[i]) {
			i++
		}
		if i == len(r.clients) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if n := r.arrivals.Load(); n != arrived {
				arrived, since = n, now
			} else if now.Sub(since) > r.cfg.Patience {
				return
			}
		}
	}
}

// close begins the closing handshakes, which end the readers.
func (r *Run) close() {
	deadline := time.Now().Add(r.cfg.Patience)
	for _, c := range r.clients {
		c.closing.Store(true)
		_ = c.nc.SetDeadline(deadline)
		if err := c.link.close(ws.CloseNormal); err != nil {
			// The connection has ended or is about to end; the reader reports it.
			_ = c.nc.SetReadDeadline(time.Unix(1, 0))
		}
	}
}

func (c *client) isQuiet() bool {
	select {
	case <-c.quiet:
		return true
	default:
		return false
	}
}

// isComplete reports whether no further message is expected.
func (c *client) isComplete() bool {
	if _, complete := c.player.owed(); complete {
		return true
	}
	select {
	case <-c.gone:
		return true
	default:
		return false
	}
}
