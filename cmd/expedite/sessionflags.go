package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/expedite-go/expedite"
)

// sessionFlags are where sessions are kept, and for how long.
type sessionFlags struct {
	Redis    string        `help:"Redis for sessions; with a password better in REDIS_URL." placeholder:"URL"`
	Require  bool          `name:"require-redis" help:"Refuse clients with 503 while Redis is away."`
	TTL      time.Duration `name:"session-ttl" help:"How long a session lives without a client." default:"1h"`
	Empty    time.Duration `name:"session-empty-ttl" help:"The same for one that is anonymous and empty." default:"2m"`
	All      int           `name:"max-sessions" help:"Sessions that the primary keeps in sum." default:"2000000"`
	Max      int           `name:"max-sessions-per-user" help:"Sessions that a user may have; 0: any." placeholder:"N"`
	Overflow string        `name:"session-overflow" help:"${enum}." enum:"close-oldest,refuse-new" default:"close-oldest"`
	Cookie   string        `name:"session-cookie" help:"Cookie that holds the session to resume." placeholder:"NAME"`
}

// config makes sense of the flags.
func (f *sessionFlags) config() (expedite.Sessions, error) {
	s := expedite.Sessions{
		Redis: f.Redis, RequireRedis: f.Require, TTL: f.TTL, EmptyTTL: f.Empty, MaxSessions: f.All, MaxPerUser: f.Max,
		RefuseNew: strings.HasPrefix(f.Overflow, "refuse"), Cookie: f.Cookie,
	}
	switch {
	case s.TTL <= 0:
		return s, usageError{fmt.Errorf("--session-ttl %s: want a time above zero, like 30m", f.TTL)}
	case s.EmptyTTL <= 0:
		return s, usageError{fmt.Errorf("--session-empty-ttl %s: want a time above zero, like 2m", f.Empty)}
	case s.MaxSessions <= 0:
		return s, usageError{fmt.Errorf("--max-sessions %d: want 1 or more", f.All)}
	case s.MaxPerUser < 0:
		return s, usageError{fmt.Errorf("--max-sessions-per-user %d: want 0 or more", f.Max)}
	case s.RequireRedis && s.Redis == "":
		return s, usageError{fmt.Errorf("--require-redis wants --redis or REDIS_URL")}
	}
	return s, nil
}
