package backplane

import (
	"reflect"
	"strings"
	"testing"
)

func FuzzParseAnnouncement(f *testing.F) {
	for _, a := range []Announcement{
		{Standing{1, 1, 1}, true, Member{"a", "info"}},
		{Standing{1<<64 - 1, 1 << 53, 0}, false, Member{" 1 2 ", ""}},
		{Standing{7, 0, 3}, true, Member{strings.Repeat("x", MaxMember), strings.Repeat("y", MaxInfo)}},
	} {
		b := a.Append(nil)
		f.Add(b)
		if got, err := ParseAnnouncement(b); err != nil || !reflect.DeepEqual(got, a) {
			f.Errorf("got %+v, %v, want %+v", got, err, a)
		}
	}
	for _, text := range []string{
		"", "1 1 1 j1", "1 1 1 j0 ", "0 1 1 j1 a", "1 1 1 x1 a", "1 1 1 j2 a", "1 1 -1 j1 a", "1 1 1  a",
	} {
		f.Add([]byte(text))
		if _, err := ParseAnnouncement([]byte(text)); err == nil {
			f.Errorf("%q: got no error", text)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := ParseAnnouncement(b)
		if err != nil {
			return
		}
		if again, err := ParseAnnouncement(a.Append(nil)); err != nil || again != a {
			t.Errorf("%q: got %+v, and again %+v, %v", b, a, again, err)
		}
	})
}
