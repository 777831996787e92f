package primary

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/expedite-go/expedite/internal/connid"
	"github.com/expedite-go/expedite/internal/registry"
)

func liveOf(ids ...int) (list []registry.LiveConn) {
	for _, id := range ids {
		list = append(list, registry.LiveConn{Conn: connid.ID(id), User: strings.Repeat("u", 100)})
	}
	return list
}

// TestMergeLive: the list has the smallest ids of all machines, and none that others of a page that was cut precede.
func TestMergeLive(t *testing.T) {
	for name, tt := range map[string]struct {
		pages []livePage
		limit int
		want  []int
	}{
		"none":              {nil, 3, nil},
		"in order":          {[]livePage{{Conns: liveOf(1, 4)}, {Conns: liveOf(2, 3)}}, 10, []int{1, 2, 3, 4}},
		"limited":           {[]livePage{{Conns: liveOf(1, 4)}, {Conns: liveOf(2, 3)}}, 3, []int{1, 2, 3}},
		"one was cut":       {[]livePage{{Conns: liveOf(1, 5)}, {Conns: liveOf(2, 3), Cut: true}}, 10, []int{1, 2, 3}},
		"the other was cut": {[]livePage{{Conns: liveOf(1), Cut: true}, {Conns: liveOf(2, 3)}}, 10, []int{1}},
	} {
		var got []int
		for _, c := range mergeLive(tt.pages, tt.limit) {
			got = append(got, int(c.Conn))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}

// TestEncodeLive: a page that is too long is cut, and says so; one connection is never too long.
func TestEncodeLive(t *testing.T) {
	for _, tt := range []struct {
		limit, want int
		cut         bool
	}{{10_000, 8, false}, {1000, 4, true}, {500, 2, true}, {1, 1, true}} {
		b, err := encodeLive(livePage{Conns: liveOf(1, 2, 3, 4, 5, 6, 7, 8)}, tt.limit)
		var p livePage
		if err == nil {
			err = json.Unmarshal(b, &p)
		}
		if err != nil || len(p.Conns) != tt.want || p.Cut != tt.cut || tt.want > 1 && len(b) > tt.limit {
			t.Errorf("limit %d: got %d of %d bytes, cut %t, %v; want %d", tt.limit, len(p.Conns), len(b), p.Cut, err, tt.want)
		}
	}
}
