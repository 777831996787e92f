// Command notifications tells all devices of a user what another program wants them to know.
//
//	NOTIFY_KEY=secret go run . serve
//	curl -H "Authorization: Bearer secret" -d '{"text":"Your parcel has arrived"}' http://localhost:8080/notify/alice
//
// Open http://localhost:8080 twice before. What is read on one device is read on all of them. A device that was off, or
// is new, gets the unread ones. With --redis URL they are kept in Redis, else by the server until it stops.
package main

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/json"
	"net/http"
	"os"
	"time"

	"github.com/expedite-go/expedite"
	"github.com/expedite-go/expedite/auth"
	"github.com/expedite-go/expedite/command"
)

//go:embed page.html
var page []byte

// kept is how many notifications of a user are kept, together with what was read of them.
const kept = 200

func main() {
	command.Main(func(cfg expedite.Config) (*expedite.App, error) { return setup(cfg, os.Getenv("NOTIFY_KEY")) })
}

// event is what devices receive: a notification, or that one was read. They send the latter.
type event struct {
	Type string    `json:"type"` // notification or read
	ID   string    `json:"id"`
	Text string    `json:"text,omitempty"`
	Time time.Time `json:"time,omitzero"`
}

// inbox returns the topic of a user's devices.
func inbox(user string) string { return "inbox:" + user }

// setup makes the App, in each process. key is that of the programs that send notifications.
func setup(cfg expedite.Config, key string) (*expedite.App, error) {
	cfg.History = append(cfg.History, expedite.HistoryRule{Topics: "inbox:*", Messages: kept, For: 30 * 24 * time.Hour})
	guests := cfg.Auth.Verifier == nil
	app := expedite.New(cfg)
	app.Handle("/inbox", expedite.Handler{
		// Without keys for tokens, users say who they are: good for trying it, and for nothing else. See docs/identity.md.
		Authorize: func(r *http.Request, id *auth.Identity) error {
			if guests {
				id.User = r.URL.Query().Get("user")
			}
			if id.User == "" {
				return expedite.Refuse(http.StatusUnauthorized, "who are you? A token, or ?user= if the server has no keys")
			}
			return nil
		},
		Open: func(c *expedite.Conn) {
			// All that is kept, in order: devices leave out what they have, and what was read.
			if _, err := c.SubscribeFrom(inbox(c.User()), expedite.Recover{Last: kept}); err != nil {
				c.Log().Warn("not subscribed", "error", err)
				_ = c.Close(1013, "try again")
			}
		},
		Message: func(c *expedite.Conn, m expedite.Message) {
			var e event
			if err := m.Decode(&e); err != nil || e.Type != "read" || e.ID == "" {
				_ = c.Close(1008, `want {"type":"read","id":…}`)
				return
			}
			read, _ := expedite.JSON(event{Type: "read", ID: e.ID})
			if err := c.Publish(inbox(c.User()), read); err != nil {
				c.Log().Warn("not marked as read", "error", err)
			}
		},
		MaxMessage: 1024,
	})
	mux := http.NewServeMux()
	mux.Handle("POST /notify/{user}", withKey(key, notify(app)))
	mux.Handle("/healthz", app.Healthz())
	mux.Handle("/readyz", app.Readyz())
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	app.HTTP(mux)
	return app, nil
}

// notify sends the notification in the body to all devices of the user in the path, in whichever worker and on
// whichever machine they are. With ?keep=no, only devices that are connected get it: for what matters now or never.
func notify(app *expedite.App) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e event
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4096)).Decode(&e); err != nil || e.Text == "" {
			http.Error(w, `want {"text": …} of at most 4096 bytes`, http.StatusBadRequest)
			return
		}
		m, err := expedite.JSON(event{Type: "notification", ID: rand.Text(), Text: e.Text, Time: time.Now()})
		switch {
		case err != nil:
		case r.FormValue("keep") == "no":
			err = app.SendUser(r.PathValue("user"), m)
		default:
			err = app.Publish(inbox(r.PathValue("user")), m)
		}
		if err != nil {
			w.Header().Set("Retry-After", "1")
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
}

// withKey lets only requests through that have the key.
func withKey(key string, next http.Handler) http.Handler {
	want := sha256.Sum256([]byte("Bearer " + key))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got := sha256.Sum256([]byte(r.Header.Get("Authorization")))
		switch {
		case key == "":
			http.Error(w, "the server has no key: start it with NOTIFY_KEY=…", http.StatusServiceUnavailable)
		case subtle.ConstantTimeCompare(got[:], want[:]) != 1:
			http.Error(w, "want the key: Authorization: Bearer …", http.StatusUnauthorized)
		default:
			next.ServeHTTP(w, r)
		}
	})
}
