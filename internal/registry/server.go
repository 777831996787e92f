package registry

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/internal/denylist"
	"github.com/expedite-go/expedite/internal/redisfeed"
	"github.com/expedite-go/expedite/internal/remotestore"
	"github.com/expedite-go/expedite/internal/telemetry"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/memstore"
	"github.com/expedite-go/expedite/session/redisstore"
)

// Server is the registry of a machine, in its primary.
type Server struct {
	node    string // the machine's name among all
	log     *slog.Logger
	journal *telemetry.Journal
	memory  *memstore.Store
	store   session.Store   // where sessions are: memory, Redis, or a store of the application, which workers ask
	kind    string          // what StoreName returns
	feed    *redisfeed.Feed // of orders between machines; nil without Redis
	deny    *denylist.List
	file    *denyFile // the deny list on disk; nil without a state directory
	// verifier verifies nothing here. It holds the keys that workers have received. Nil is none.
	verifier auth.Verifier
	tickets  tickets
	// certificates is Config.Certificates.
	certificates func() []byte
	moving       func() bool
	bridged      func([]byte) error // nil: there are no other machines
	// presence answers who is in a topic; nil: nobody knows.
	presence       func(ctx context.Context, query []byte) ([]byte, error)
	queries        atomic.Int64 // that are being answered
	refusedQueries atomic.Uint64
	// subscribed counts the subscribers of a topic; counting bounds how often at once.
	subscribed func(ctx context.Context, topic string) (Subscribers, error)
	counting   slots

	subscribers *subscribers
	require     bool          // refuse clients while the store is away
	doubt       chan struct{} // asks for a check of the store
	feedFails   int           // failures of the feed in a row; the log reports the second. Used by noteFeed only

	tellMu sync.Mutex // held while workers are told of the health
	untold bool       // a worker could not be told
	// changed has the settings that a reload has changed; nil if none has.
	changed *changed
	// drain is what workers were told last of a drain, unless drainUntold is set.
	drain       Drain
	drainUntold bool

	mu      sync.Mutex
	health  Health
	workers map[uint64]*Worker
	done    chan struct{}
	tasks   sync.WaitGroup
}

// Config configures a Server.
type Config struct {
	Journal  *telemetry.Journal
	Verifier auth.Verifier // nil knows no tokens
	// MaxDenials is the size of the deny list. 0 is denylist.DefaultMax.
	MaxDenials int
	// Redis is the URL of the Redis that keeps the sessions. Empty keeps them in memory.
	Redis string
	// OwnStore tells that the application keeps the sessions. Its store lives in the workers: the server asks one of
	// them.
	OwnStore bool
	// RequireRedis refuses clients while Redis is away.
	RequireRedis bool
	// MaxSessions is the size of the memory store, and EmptyTTL the lifetime of its empty sessions.
	MaxSessions int
	EmptyTTL    time.Duration
	// Certificates returns those of TLS that are in use, with their keys, for workers that cannot use their files. Nil:
	// there are none.
	Certificates func() []byte
	// Moving reports whether connections are moving between workers.
	Moving func() bool
}

// NewServer returns a Server that has not started. It fails if the URL of Redis is not valid.
func NewServer(ctx context.Context, c Config) (*Server, error) {
	s := &Server{
		node: newNodeName(), log: c.Journal.Logger, journal: c.Journal, moving: c.Moving,
		memory:   memstore.New(memstore.Config{MaxSessions: c.MaxSessions, EmptyTTL: c.EmptyTTL}),
		verifier: c.Verifier, certificates: c.Certificates,
		deny:    &denylist.List{Max: c.MaxDenials},
		require: c.RequireRedis, workers: make(map[uint64]*Worker), done: make(chan struct{}),
		doubt: make(chan struct{}, 1), counting: make(slots, maxCounting),
		health: Health{Current: c.Redis == ""},
	}
	s.subscribers = newSubscribers(s)
	s.store, s.kind = s.memory, "memory"
	switch {
	case c.OwnStore:
		s.store, s.kind = remotestore.New(s.askStore), "custom"
	case c.Redis != "":
		feed, err := redisfeed.Open(c.Redis, "orders", 0)
		if err != nil {
			return nil, fmt.Errorf("expedite: Config.Sessions.Redis: %w", err)
		}
		redis, err := redisstore.New(ctx, c.Redis, redisstore.Config{EmptyTTL: c.EmptyTTL})
		if err != nil {
			_ = feed.Close()
			return nil, fmt.Errorf("expedite: Config.Sessions.Redis: %w", err)
		}
		s.store, s.feed, s.kind = redis, feed, "redis"
	}
	return s, nil
}

func newNodeName() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}

// OnBridged sets what takes the messages of a bridge. Before the first worker joins.
func (s *Server) OnBridged(f func(bridged []byte) error) { s.bridged = f }

// nodeNumber returns the name of a machine as a number; 0 if it is none.
func nodeNumber(name string) uint64 {
	n, _ := strconv.ParseUint(name, 16, 64)
	return n
}

// Node returns the machine's name among all, as a number.
func (s *Server) Node() uint64 { return nodeNumber(s.node) }

const (
	// sweepShare is the number of sessions that each tick examines.
	sweepShare = 20_000
	// orderTimeout bounds the wait for a worker to carry out an order.
	orderTimeout = 5 * time.Second
	// orderRetry is the time between attempts to reach a worker whose queue is full.
	orderRetry = 50 * time.Millisecond
)

// Start begins to remove what expires, and to follow other machines. Close ends that.
func (s *Server) Start() {
	s.tasks.Go(func() {
		tick := time.NewTicker(tickEvery)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				s.memory.Sweep(sweepShare)
				s.deny.Sweep(now)
				s.file.tend(now)
				s.tellAgain()
			case <-s.done:
				return
			}
		}
	})
	if s.feed != nil {
		s.tasks.Go(s.watchRedis)
	}
}

// Close ends what Start began, and closes the store and the state directory.
func (s *Server) Close() {
	close(s.done)
	s.tasks.Wait()
	_ = s.store.Close()
	if s.feed != nil {
		_ = s.feed.Close()
	}
	_ = s.file.close()
}

// Stats are figures of a Server.
type Stats struct {
	// Sessions and Connected count those of the memory store.
	Sessions, Connected int
	// Full counts sessions that found the memory store full, Discarded those that it ended early to make room.
	Full, Discarded uint64
	// Revocations is the length of the deny list.
	Revocations int
	// External reports that sessions are kept outside of the primary.
	External bool
}

// Stats returns the figures of now.
func (s *Server) Stats() Stats {
	m := s.memory.Stats()
	return Stats{
		Sessions: m.Sessions, Connected: m.Connected, Full: m.Full, Discarded: m.Discarded,
		Revocations: s.deny.Len(), External: s.kind != "memory",
	}
}

// StoreName returns where sessions are: memory, redis or custom.
func (s *Server) StoreName() string { return s.kind }

// hello answers a worker that begins. Holding tellMu makes sure that no older health follows the answer.
func (s *Server) hello(payload []byte, reply func([]byte, error)) {
	var req helloRequest
	_ = json.Unmarshal(payload, &req) // earlier releases send nothing
	s.tellMu.Lock()
	defer s.tellMu.Unlock()
	now := s.ownHealth()
	h := hello{
		Node: s.node, Health: &now, Paged: req.Paged, Changed: s.changed, Drain: s.drainForNew(),
		Tickets: s.tickets.bytes(),
	}
	if !req.Paged {
		h.Denials, h.Follows = s.deny.All(time.Now()), s.subscribers.all()
	}
	if req.Certificates {
		h.Certificates = s.keptCertificates()
		defer clear(h.Certificates)
	}
	reply(json.Marshal(h))
}

// Apply has all workers apply changed settings, also those that start later.
func (s *Server) Apply(ctx context.Context, settings []byte) error {
	s.tellMu.Lock()
	next := &changed{Number: 1, Settings: settings}
	if s.changed != nil {
		next.Number = s.changed.Number + 1
	}
	s.changed = next
	s.tellMu.Unlock()
	b, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("expedite: %w", err)
	}
	for _, a := range s.ask(ctx, opApply, b) {
		err = errors.Join(err, a.err)
	}
	return err
}

// serve answers a worker. What may block runs on a goroutine of its own.
func (s *Server) serve(w *Worker, op byte, payload []byte, reply func([]byte, error)) {
	switch op {
	case opHello:
		s.hello(payload, reply)
	case opPage:
		var req pageRequest
		err := json.Unmarshal(payload, &req)
		var p page
		if err == nil {
			p, err = w.page(s, req.At)
		}
		if err != nil {
			reply(nil, err)
			return
		}
		reply(json.Marshal(p))
	case opSession:
		reply(remotestore.Serve(context.Background(), s.memory, payload), nil)
	case opKeys:
		reply(s.exchangeKeys(payload), nil)
	case opPresence:
		s.servePresence(payload, reply)
	case opLines:
		s.subscribers.deliver(payload)
	case opBridged:
		if s.bridged != nil && s.bridged(payload) != nil {
			s.log.Warn("message of another machine not understood")
		}
	case opSubscribers:
		s.countSubscribers(string(payload), reply)
	case opCommand:
		var c Command
		if err := json.Unmarshal(payload, &c); err != nil {
			reply(nil, err)
			return
		}
		go func() { // ends with the timeout of orders
			ctx, cancel := context.WithTimeout(context.Background(), 2*orderTimeout)
			defer cancel()
			done, err := s.Command(ctx, c)
			if err != nil {
				reply(nil, err)
				return
			}
			reply(json.Marshal(done))
		}()
	default:
		reply(nil, errors.New("unknown request"))
	}
}
