package main

import (
	"testing"
	"time"

	"github.com/expedite-go/expedite/expeditetest"
)

// until receives frames up to one in which the players are as wanted.
func until(c *expeditetest.Client, wanted func(map[string]*player) bool) (f frame) {
	for {
		f = frame{}
		c.ReceiveJSON(&f)
		players := make(map[string]*player)
		for _, p := range f.Players {
			players[p.Name] = p
		}
		if wanted(players) {
			return f
		}
	}
}

func TestPlayersMove(t *testing.T) {
	t.Parallel()
	s := expeditetest.Start(t, setup)
	alice, bob := s.Dial("/game/1?name=alice"), s.Dial("/game/1?name=bob")
	elsewhere := s.Dial("/game/2?name=carol")
	alice.Send(map[string]float64{"x": 1, "y": -100})
	until(bob, func(p map[string]*player) bool {
		return p["alice"] != nil && p["alice"].X > width/2 && p["alice"].Y < height/2 && p["bob"].X == width/2
	})
	until(elsewhere, func(p map[string]*player) bool { return p["carol"] != nil && p["alice"] == nil })
	alice.Close()
	until(bob, func(p map[string]*player) bool { return p["alice"] == nil && p["bob"] != nil })
}

func TestBadMessage(t *testing.T) {
	t.Parallel()
	c := expeditetest.Start(t, setup).Dial("/game/1")
	c.Send("up")
	if code, reason := c.Closed(); code != 1008 {
		t.Errorf("got %d %q, want 1008", code, reason)
	}
}

func TestStep(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	s := starOf("1", now)
	if again := starOf("1", now.Add(time.Millisecond)); again.X != s.X || again.Y != s.Y {
		t.Errorf("the star has moved: %v, %v", s, again)
	}
	if next := starOf("1", now.Add(starTime)); next.X == s.X && next.Y == s.Y {
		t.Errorf("the next star is where the last one was: %v", next)
	}
	p := player{X: s.X - speed, Y: s.Y, DX: 1, Score: 4}
	p.step(s)
	p.step(s)
	if p.Score != 5 {
		t.Errorf("got %d points, want one for the star, once", p.Score-4)
	}
	for range 1000 {
		p.step(s)
	}
	if p.X != width {
		t.Errorf("the player is at %v, want the edge, %d", p.X, width)
	}
}
