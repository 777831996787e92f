package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/expedite-go/expedite"
)

// sessionFlags say where sessions are stored, and for how long.
type sessionFlags struct {
	Redis    string        `help:"Redis for sessions; put a password into REDIS_URL. Default: none." placeholder:"URL"`
	Require  bool          `name:"require-redis" help:"Refuse clients with 503 while Redis is unavailable."`
	TTL      time.Duration `name:"session-ttl" help:"Lifetime of a session without a connection." default:"1h"`
	Empty    time.Duration `name:"session-empty-ttl" help:"The same for an anonymous session without values." default:"2m"`
	All      int           `name:"max-sessions" help:"Sessions in the primary." default:"2000000"`
	Max      int           `name:"max-sessions-per-user" help:"Sessions of one user. Default: no limit." placeholder:"N"`
	Overflow string        `name:"session-overflow" help:"${enum}." enum:"close-oldest,refuse-new" default:"close-oldest"`
	Cookie   string        `name:"session-cookie" help:"Cookie with the session to resume." placeholder:"NAME"`
}

// config returns the settings that the flags stand for.
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
