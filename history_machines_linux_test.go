package expedite

import (
	"fmt"
	"testing"

	"github.com/expedite-go/expedite/internal/redistest"
)

// TestHistoryOnMachines: a client recovers on another machine what was published on any of them, and hears later messages
// in the order of all machines.
func TestHistoryOnMachines(t *testing.T) {
	for _, workers := range []int{-1, 2} {
		t.Run(fmt.Sprint(workers), func(t *testing.T) {
			cfg := Config{Workers: workers}
			cfg.Sessions.Redis = redistest.Start(t).URL()
			t.Setenv(testRedis, cfg.Sessions.Redis)
			addr, a := runApp(t, cfg)
			other, b := runApp(t, cfg)
			v := talk(t, addr, "/history")
			v.resume(resume{Topic: "kept.a"})
			first := v.outcome("kept.a: ok true, missed 0")
			publishAll(t, a, "kept.a", "a")
			v.want("1 a")
			publishAll(t, b, "kept.a", "b")
			v.want("2 b")
			w := talk(t, other, "/history/inline")
			w.resume(resume{Topic: "kept.a", From: Position{first.Epoch, 1}.String()})
			w.want("2 b")
			w.outcome("kept.a: ok true, missed 1")
			publishAll(t, a, "kept.a", "c")
			v.want("3 c")
			publishAll(t, b, "kept.a", "d")
			for _, one := range []*visitor{v, w} {
				if one == w {
					one.want("3 c")
				}
				one.want("4 d")
			}
			v.resume(resume{Topic: "kept.a", Leave: true})
			v.want("left true")
			publishAll(t, b, "kept.a", "e", "f", "g")
			for _, text := range []string{"5 e", "6 f", "7 g"} {
				w.want(text)
			}
			for _, from := range []Position{{first.Epoch, 1}, {first.Epoch, 99}, {first.Epoch + 1, 7}} {
				v.resume(resume{Topic: "kept.a", From: from.String()})
				if at := v.outcome("kept.a: ok false, missed 0"); at != (Position{first.Epoch, 7}) {
					t.Errorf("after %v: got %v", from, at)
				}
			}
			v.resume(resume{Topic: "kept.a", Last: 2})
			v.want("6 f")
			v.want("7 g")
			v.outcome("kept.a: ok true, missed 2")
		})
	}
}
