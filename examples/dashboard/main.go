// Command dashboard shows live metrics of the machine to everybody who looks.
//
//	go run . serve
//
// Open http://localhost:8080. The program publishes a sample a second. A page that comes gets the latest minutes first,
// and then what is new. With --redis URL, several machines are in one dashboard.
package main

import (
	"context"
	_ "embed"
	"net/http"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/command"
)

//go:embed page.html
var page []byte

const (
	topic  = "metrics"
	period = time.Second
	kept   = 180 // samples
)

func main() {
	command.Main(func(cfg expedite.Config) (*expedite.App, error) { return setup(cfg, period) })
}

// sample is what the dashboard shows of a machine.
type sample struct {
	Host   string             `json:"host"`
	Time   time.Time          `json:"time"`
	Values map[string]float64 `json:"values"`
}

// setup makes the App, in each process. It takes a sample each period.
func setup(cfg expedite.Config, period time.Duration) (*expedite.App, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	cfg.History = append(cfg.History, expedite.HistoryRule{Topics: topic, Messages: kept, For: time.Hour})
	app := expedite.New(cfg)
	app.Handle("/live", expedite.Handler{
		Open: func(c *expedite.Conn) {
			if _, err := c.SubscribeFrom(topic, expedite.Recover{Last: kept}); err != nil {
				c.Log().Warn("not subscribed", "error", err)
				_ = c.Close(1013, "try again")
			}
		},
		Message:    func(c *expedite.Conn, _ expedite.Message) { _ = c.Close(1008, "this is to look at") },
		MaxMessage: 128,
	})
	app.Go(func(ctx context.Context) {
		if app.Slot() == 1 { // one worker measures for the machine
			measure(ctx, app, host, period)
		}
	})
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

// measure publishes samples until the worker ends.
func measure(ctx context.Context, app *expedite.App, host string, period time.Duration) {
	clock := time.NewTicker(period)
	defer clock.Stop()
	for {
		s := sample{Host: host, Time: time.Now(), Values: values()}
		if n, err := app.Subscribers(ctx, topic); err == nil {
			s.Values["viewers"] = float64(n)
		}
		m, err := expedite.JSON(s)
		if err == nil {
			err = app.Publish(topic, m)
		}
		if err != nil {
			app.Logger().Warn("sample not published", "error", err)
		}
		select {
		case <-clock.C:
		case <-ctx.Done():
			return
		}
	}
}

// values measures this process and, on Linux, the machine. What matters in your program belongs here.
func values() map[string]float64 {
	samples := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(samples)
	v := map[string]float64{
		"heap (MiB)":  float64(samples[0].Value.Uint64()) / (1 << 20),
		"collections": float64(samples[1].Value.Uint64()),
		"goroutines":  float64(runtime.NumGoroutine()),
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		if load, err := strconv.ParseFloat(strings.Fields(string(b))[0], 64); err == nil {
			v["load"] = load
		}
	}
	return v
}
