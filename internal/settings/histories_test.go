package settings

import (
	"reflect"
	"testing"
	"time"

	"github.com/expedite-go/expedite"
)

// TestHistories checks which texts are rules for what topics keep.
func TestHistories(t *testing.T) {
	for text, want := range map[string]expedite.HistoryRule{
		"room.*=100/1h": {Topics: "room.*", Messages: 100, For: time.Hour},
		"*=1/1s":        {Topics: "*", Messages: 1, For: time.Second},
		"a=b=7/90m":     {Topics: "a=b", Messages: 7, For: 90 * time.Minute},
		"a b=1 c=7/90m": {Topics: "a b=1 c", Messages: 7, For: 90 * time.Minute},
	} {
		var got []expedite.HistoryRule
		if err := histories(&got).set([]string{text}); err != nil || !reflect.DeepEqual(got, []expedite.HistoryRule{want}) {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "=", "a", "a=", "a=1", "a=1/", "a=/1h", "=1/1h", "a=0/1h", "a=-1/1h", "a=1/1ms", "a=1/1", "a=1000001/1h", "a=1/1h/2",
		"a=1/1h c=1/1h", "a=1/1h  c=1/1h",
	} {
		var got []expedite.HistoryRule
		if err := histories(&got).set([]string{"b=1/1h", text}); err == nil || got != nil {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}
