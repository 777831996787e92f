package worker

import (
	"context"
	"fmt"
	"time"

	"github.com/expedite-go/expedite/internal/access"
	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/storeguard"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/redisstore"
	"github.com/expedite-go/expedite/ws"
)

// Sessions tells where and how sessions are kept.
type Sessions struct {
	// Store keeps the sessions. Nil: Redis keeps them or, without a URL, the primary.
	Store session.Store
	Redis string
	// Require refuses clients while the store is away.
	Require bool
	// EmptyTTL is the lifetime of empty sessions in Redis. KeepEmpty lets them live as long as others.
	EmptyTTL  time.Duration
	KeepEmpty bool
	Policy    session.Policy
}

// mainStore is a store that may be away; nil if the primary keeps the sessions.
type mainStore struct{ session.Store }

func (s *Sessions) open() (mainStore, error) {
	switch {
	case s.Store != nil:
		return mainStore{s.Store}, nil
	case s.Redis == "":
		return mainStore{}, nil
	}
	redis, err := redisstore.New(context.Background(), s.Redis, redisstore.Config{EmptyTTL: s.EmptyTTL})
	if err != nil {
		return mainStore{}, fmt.Errorf("expedite: Config.Sessions.Redis: %w", err)
	}
	return mainStore{redis}, nil
}

func (m mainStore) close() error {
	if m.Store == nil {
		return nil
	}
	return m.Close()
}

// trackerConfig puts a guard in front of a store that may be away: sessions live in the primary meanwhile.
func (w *Worker) trackerConfig(main mainStore) access.TrackerConfig {
	c := access.TrackerConfig{
		Store: w.registry.Store(), Require: w.Sessions.Require, KeepEmpty: w.Sessions.KeepEmpty,
		Remember: w.Histories.Len() > 0,
		Policy:   w.Sessions.Policy, Registry: w.registry, Engine: w.engine, Journal: w.Journal, ClientOf: w.ClientOf,
		Close: func(conn connid.ID, code ws.CloseCode, reason string) {
			_ = w.local.CloseConn(uint64(conn), uint16(code), reason) // an overload is counted
		},
	}
	if main.Store != nil {
		c.Guard = storeguard.New(storeguard.Config{
			Main: main.Store, Spare: c.Store, Require: c.Require, Log: w.log, MayLog: w.Journal.Clients.Allow,
		})
		c.Store = c.Guard
	}
	return c
}
