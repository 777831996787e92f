package ws

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestCloseCodeMayStandOnTheWire(t *testing.T) {
	for c := range 1 << 16 {
		want := c >= 1000 && c <= 1003 || c >= 1007 && c <= 1014 || c >= 3000 && c <= 4999 // RFC 6455 §7.4
		if got := CloseCode(c).Valid(); got != want {
			t.Errorf("%d: got %v, want %v", c, got, want)
		}
	}
}

func TestAppendClose(t *testing.T) {
	full := strings.Repeat("é", 61) + "x"
	rows := []struct {
		name   string
		code   CloseCode
		reason string
		want   string
		err    error
	}{
		{"code and reason", CloseNormal, "bye", "\x88\x05\x03\xe8bye", nil},
		{"code alone", CloseGoingAway, "", "\x88\x02\x03\xe9", nil},
		{"code 0 is an empty frame", 0, "", "\x88\x00", nil},
		{"no status is an empty frame", CloseNoStatus, "", "\x88\x00", nil},
		{"own code", 4999, "", "\x88\x02\x13\x87", nil},
		{"longest reason", CloseNormal, full, "\x88\x7d\x03\xe8" + full, nil},
		{"reason over 123 bytes", CloseNormal, full + "x", "", ErrCloseReason},
		{"reason that is no UTF-8", CloseNormal, "\xff", "", ErrCloseReason},
		{"reason without a code", 0, "bye", "", ErrCloseReason},
		{"code of reports", CloseAbnormal, "", "", ErrCloseCode},
		{"reserved code", 1004, "", "", ErrCloseCode},
		{"code of TLS", CloseTLSHandshake, "", "", ErrCloseCode},
		{"code of no range", 2999, "", "", ErrCloseCode},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got, err := AppendClose([]byte("x"), row.code, row.reason)
			if string(got) != "x"+row.want || !errors.Is(err, row.err) {
				t.Errorf("got %q, %v, want %q, %v", got, err, "x"+row.want, row.err)
			}
			masked, err := AppendMaskedClose([]byte("x"), testKey, row.code, row.reason)
			if !errors.Is(err, row.err) {
				t.Errorf("got %v, want %v", err, row.err)
			}
			want := []byte("x")
			if row.err == nil {
				want = append(want, frame(Server, true, OpClose, row.want[2:])...)
			}
			if !bytes.Equal(masked, want) {
				t.Errorf("got masked %q, want %q", masked, want)
			}
		})
	}
}
