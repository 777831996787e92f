package redisstore_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/internal/redistest"
	"github.com/expedite-go/expedite/session"
	"github.com/expedite-go/expedite/session/redisstore"
)

// BenchmarkTouch measures one round trip to a real server, by the number of callers at the same time.
func BenchmarkTouch(b *testing.B) {
	server := redistest.Start(b)
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			r, err := redisstore.New(b.Context(), server.URL(), redisstore.Config{Timeout: redistest.Patience})
			if err != nil {
				b.Fatal(err)
			}
			defer r.Close()
			a, err := r.Attach(b.Context(), session.Attach{User: "alice", Place: session.Place{Node: "n", Conn: 1}})
			if err != nil {
				b.Fatal(err)
			}
			refs := []session.Ref{{ID: a.Session.ID, Conn: 1}}
			b.SetParallelism(callers)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := r.Touch(context.Background(), refs); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
