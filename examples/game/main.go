// Command game is a small game for many players: be at the star before its time is up.
//
//	go run . serve
//
// Open http://localhost:8080 in two windows. A reload moves all players to the new program, and none of them notices.
//
// Each worker moves the players that are connected to it, twenty times a second, and publishes where they are; pages
// draw those of all workers. Clients say only in which direction they go, so nobody is faster than others. The star is
// computed from the clock, so workers and machines agree on it without a word.
//
// The limit of this design: no worker knows the players of the others, so players cannot bump into each other or shoot.
// A game that needs it has all players of a room in one process: serve --workers 1 on each machine, and a load balancer
// that sends each path /game/… to one of them.
package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"hash/fnv"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/command"
)

//go:embed page.html
var page []byte

const (
	width, height = 1000, 600
	tick          = time.Second / 20
	speed         = 260 * float64(tick) / float64(time.Second) // in a tick
	reach         = 35                                         // of a player to the star
	starTime      = 6 * time.Second
)

func main() { command.Main(setup) }

// player is the state of a connection. When its worker is replaced, it moves with the connection.
type player struct {
	Name  string  `json:"name"`
	X     float64 `json:"x"`
	Y     float64 `json:"y"`
	DX    float64 `json:"dx"` // where it goes: -1 to 1
	DY    float64 `json:"dy"`
	Score int     `json:"score"`
	Star  int64   `json:"star"` // the last one that it got
}

// star is where to be.
type star struct {
	X      float64 `json:"x"`
	Y      float64 `json:"y"`
	Left   float64 `json:"left"` // seconds
	number int64
}

// frame is what a worker publishes of a room in a tick.
type frame struct {
	Process string    `json:"process"` // which worker, of which machine
	Players []*player `json:"players"`
	Star    star      `json:"star"`
}

// game has the players of this worker.
type game struct {
	app     *expedite.App
	process string

	mu    sync.Mutex // also of what the players hold
	rooms map[string]map[expedite.ID]*player
}

// setup makes the App, in each process.
func setup(cfg expedite.Config) (*expedite.App, error) {
	app := expedite.New(cfg)
	g := &game{app: app, process: rand.Text(), rooms: make(map[string]map[expedite.ID]*player)}
	app.Handle("/game/{room}", expedite.Handler{
		State:      expedite.Carry[player](),
		Open:       g.open,
		Message:    g.steer,
		Close:      func(c *expedite.Conn, _ *expedite.CloseError) { g.leave(c) },
		Suspend:    func(c *expedite.Conn) ([]byte, error) { g.leave(c); return nil, nil },
		Resume:     func(c *expedite.Conn, _ []byte) error { g.enter(c); return nil },
		Slow:       expedite.DropOldest, // who reads slowly needs only the latest frames
		QueueLimit: 64 << 10,
		MaxMessage: 256,
	})
	app.Go(g.run)
	mux := http.NewServeMux()
	mux.Handle("/healthz", app.Healthz())
	mux.Handle("/readyz", app.Readyz())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	app.HTTP(mux)
	return app, nil
}

// topic returns the topic of a room.
func topic(room string) string { return "game:" + room }

func (g *game) open(c *expedite.Conn) {
	if err := c.Subscribe(topic(c.PathValue("room"))); err != nil {
		_ = c.Close(1013, "try again")
		return
	}
	p := c.Data().(*player)
	p.Name, p.X, p.Y = c.Query().Get("name"), width/2, height/2
	g.enter(c)
}

// enter adds the player of a connection, which is new, or has come from another worker.
func (g *game) enter(c *expedite.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	room := c.PathValue("room")
	if g.rooms[room] == nil {
		g.rooms[room] = make(map[expedite.ID]*player)
	}
	g.rooms[room][c.ID()] = c.Data().(*player)
}

// leave removes the player: after it, nothing but the callbacks of the connection uses its Data.
func (g *game) leave(c *expedite.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	room := c.PathValue("room")
	if delete(g.rooms[room], c.ID()); len(g.rooms[room]) == 0 {
		delete(g.rooms, room)
	}
}

// steer is called when a client goes in another direction: {"x": -1, "y": 0}.
func (g *game) steer(c *expedite.Conn, m expedite.Message) {
	var to struct{ X, Y float64 }
	if err := m.Decode(&to); err != nil {
		_ = c.Close(1008, `want {"x": …, "y": …}`)
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p := c.Data().(*player)
	p.DX, p.DY = min(max(to.X, -1), 1), min(max(to.Y, -1), 1)
}

// run is the game loop of this worker.
func (g *game) run(ctx context.Context) {
	clock := time.NewTicker(tick)
	defer clock.Stop()
	for {
		select {
		case now := <-clock.C:
			for room, m := range g.step(now) {
				if err := g.app.Publish(topic(room), m); err != nil { // overloaded: the next frame comes soon
					g.app.Logger().Debug("frame lost", "error", err)
				}
			}
		case <-ctx.Done():
			return
		}
	}
}

// step moves all players, and returns the frame of each room.
func (g *game) step(now time.Time) map[string]expedite.Message {
	g.mu.Lock()
	defer g.mu.Unlock()
	frames := make(map[string]expedite.Message)
	for room, players := range g.rooms {
		f := frame{Process: g.process, Star: starOf(room, now)}
		for _, p := range players {
			p.step(f.Star)
			f.Players = append(f.Players, p)
		}
		frames[room], _ = expedite.JSON(f)
	}
	return frames
}

// step moves a player for a tick.
func (p *player) step(s star) {
	p.X = min(max(p.X+p.DX*speed, 0), width)
	p.Y = min(max(p.Y+p.DY*speed, 0), height)
	if dx, dy := p.X-s.X, p.Y-s.Y; p.Star != s.number && dx*dx+dy*dy < reach*reach {
		p.Star = s.number
		p.Score++
	}
}

// starOf returns the star of a room at a time.
func starOf(room string, now time.Time) star {
	n := now.UnixNano() / int64(starTime)
	h := fnv.New64a()
	_, _ = h.Write([]byte(room + strconv.FormatInt(n, 10)))
	at := h.Sum64()
	const margin = 50
	return star{
		X: margin + float64(at%(width-2*margin)), Y: margin + float64(at>>32%(height-2*margin)),
		Left: time.Unix(0, (n+1)*int64(starTime)).Sub(now).Seconds(), number: n,
	}
}
