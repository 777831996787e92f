package reactor

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"unsafe"

	"github.com/expedite-go/expedite/internal/tlsrecord"
)

// Specimens returns the states of sockets with TLS that together have a bit of everything. Their keys are always the
// same.
func Specimens() (map[string][]byte, error) {
	secret := func(b byte, n int) []byte { return bytes.Repeat([]byte{b}, n) }
	in, err1 := tlsrecord.NewReader(tls.TLS_AES_128_GCM_SHA256, secret(1, 32))
	out, err2 := tlsrecord.NewWriter(tls.TLS_AES_128_GCM_SHA256, secret(2, 32), 3)
	peer, err3 := tlsrecord.NewWriter(tls.TLS_AES_256_GCM_SHA384, secret(3, 48), 0)
	busyIn, err4 := tlsrecord.NewReader(tls.TLS_AES_256_GCM_SHA384, secret(3, 48))
	busyOut, err5 := tlsrecord.NewWriter(tls.TLS_AES_256_GCM_SHA384, secret(4, 48), 7)
	lastIn, err6 := tlsrecord.NewReader(tls.TLS_CHACHA20_POLY1305_SHA256, secret(5, 32))
	lastOut, err7 := tlsrecord.NewWriter(tls.TLS_CHACHA20_POLY1305_SHA256, secret(6, 32), 1<<33)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		return nil, err
	}
	busy := &sealed{in: *busyIn, out: *busyOut, arrives: &arriving{plain: []byte("opened, and not taken")}}
	busy.leaving().owes = true
	records, err := peer.AppendKeyUpdate(nil, true)
	if err == nil {
		_, _, err = busy.in.Open(nil, records)
	}
	if err == nil { // with the new keys
		records, _, err = peer.Append(nil, [][]byte{[]byte("half of this record has come")}, 100)
	}
	if err == nil {
		busy.arrives.part = records[:20]
		records, _, err = busy.out.Append(nil, [][]byte{[]byte("is sealed, and waits")}, 100)
		busy.leaving().rest = &records
	}
	busy.leaving().sizes.add(20)
	busy.leaving().sizes.add(tlsrecord.KeyUpdateSize | notData)
	last := &sealed{in: *lastIn, out: *lastOut}
	last.setEnd(io.EOF)
	last.leaving().finish, last.leaving().shut = true, true
	if err == nil {
		alert, failed := last.out.AppendAlert(nil, tlsrecord.CloseNotify)
		last.leaving().rest, err = &alert, failed
	}
	broken := &sealed{in: *in, out: *out}
	broken.setEnd(io.ErrClosedPipe)
	states := make(map[string][]byte)
	for name, t := range map[string]*sealed{
		"idle": {in: *in, out: *out}, "busy": busy, "last": last, "broken": broken,
	} {
		states[name] = Socket{num: 1, ptr: unsafe.Pointer(t)}.Suspend()
	}
	return states, err
}
