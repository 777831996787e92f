package engine

import (
	"testing"
	"time"

	"github.com/expedite-go/expedite/ws"
)

// TestSlowloris stops in the middle of each part of a message. Pongs, which a client may send at any time, do not help:
// before the payload or in a control frame it cannot send any, and is idle.
func TestSlowloris(t *testing.T) {
	message := ws.AppendMaskedFrame(nil, ws.OpBinary, 0x01020304, make([]byte, 300))
	long := ws.AppendMaskedFrame(nil, ws.OpBinary, 0x01020304, make([]byte, 70_000))
	part := append([]byte(nil), message...)
	part[0] &^= 0x80 // not the last fragment
	ping := ws.AppendMaskedFrame(nil, ws.OpPing, 0x01020304, []byte("ping"))
	pong := ws.AppendMaskedFrame(nil, ws.OpPong, 0x01020304, nil)
	rows := []struct {
		name  string
		limit string
		bytes []byte
	}{
		{"first byte of a header", "idle_time", message[:1]},
		{"before the extended length", "idle_time", message[:2]},
		{"in the extended length", "idle_time", long[:6]},
		{"in the masking key", "idle_time", message[:6]},
		{"before the payload", "idle_time", message[:8]},
		{"in the payload", "message_min_rate", message[:100]},
		{"before the last byte", "message_min_rate", message[:len(message)-1]},
		{"between fragments", "message_min_rate", part},
		{"between fragments, after a pong", "message_min_rate", append(append([]byte(nil), part...), pong...)},
		{"in a ping", "idle_time", ping[:len(ping)-1]},
		{"in a ping between fragments", "message_min_rate", append(append([]byte(nil), part...), ping[:7]...)},
	}
	onEachTransport(t, func(t *testing.T, pump bool) {
		cfg := portable(pump)
		cfg.MessageMinRate = Progress{Bytes: 1000, Per: 40 * time.Millisecond}
		f := start(t, cfg, map[string]*Route{
			"/message_min_rate": {Handler: echo}, "/idle_time": {Handler: echo, IdleTimeout: 50 * time.Millisecond},
		})
		codes := map[string]ws.CloseCode{"message_min_rate": ws.ClosePolicyViolation, "idle_time": ws.CloseGoingAway}
		hits := make(map[string]uint64)
		for _, row := range rows {
			p := f.dial(t, "/"+row.limit)
			p.write(row.bytes)
			if got := p.wantClose(codes[row.limit]); t.Failed() {
				t.Fatalf("%s: got %q", row.name, got)
			}
			hits[row.limit]++
			if got := f.Stats().Limits[row.limit]; got != hits[row.limit] {
				t.Fatalf("%s: %s is %d, want %d", row.name, row.limit, got, hits[row.limit])
			}
		}
	})
}
