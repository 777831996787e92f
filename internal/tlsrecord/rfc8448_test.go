package tlsrecord

import (
	"bytes"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"strings"
	"testing"
)

// The traces of RFC 8448 §3 (simple 1-RTT handshake): traffic secrets, and the records after the handshake.
const (
	traceClient = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5"
	traceServer = "a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643"
	// 50 bytes, 0 to 49, from the client.
	traceData = `17 03 03 00 43 a2 3f 70 54 b6 2c 94
		d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc ab 3f 2b
		98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62
		92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4`
	// close_notify of the client.
	traceClose = "17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTrace opens the client's records of the trace, and seals the same ones.
func TestTrace(t *testing.T) {
	r, err := NewReader(tls.TLS_AES_128_GCM_SHA256, unhex(t, traceClient))
	if err != nil {
		t.Fatal(err)
	}
	w, err := NewWriter(tls.TLS_AES_128_GCM_SHA256, unhex(t, traceClient), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 50)
	for i := range want {
		want[i] = byte(i)
	}
	record := unhex(t, traceData)
	if sealed, _, err := w.Append(nil, [][]byte{want}, len(want)); err != nil || !bytes.Equal(sealed, record) {
		t.Errorf("sealed %x, %v", sealed, err)
	}
	got, kind, err := r.Open(nil, record)
	if err != nil || kind != Data || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v, %v", got, kind, err)
	}
	record = unhex(t, traceClose)
	if sealed, err := w.AppendAlert(nil, CloseNotify); err != nil || !bytes.Equal(sealed, record) {
		t.Errorf("sealed %x, %v", sealed, err)
	}
	if _, kind, err := r.Open(nil, record); err != nil || kind != Closed {
		t.Errorf("got %v, %v, want Closed", kind, err)
	}
}

// TestKeys derives the keys of the trace. RFC 8446 §7.3.
func TestKeys(t *testing.T) {
	for _, c := range []struct{ secret, key, iv string }{
		{traceClient, "17422dda596ed5d9acd890e3c63f5051", "5b78923dee08579033e523d9"},
		{traceServer, "9f02283b6c9c07efc26bb9f2ac92e356", "cf782b88dd83549aadf1e984"},
	} {
		mac := hmac.New(sha256.New, unhex(t, c.secret))
		for label, want := range map[string]string{"key": c.key, "iv": c.iv} {
			got := make([]byte, len(want)/2)
			mac.Reset()
			if expandLabel(got, mac, label); hex.EncodeToString(got) != want {
				t.Errorf("%s %x, want %s", label, got, want)
			}
		}
	}
}

// TestExpandLabel: one HMAC is what HKDF-Expand of the standard library returns, for all that is derived.
func TestExpandLabel(t *testing.T) {
	for _, s := range suites {
		secret := bytes.Repeat([]byte{7}, s.secret)
		mac := hmac.New(s.hash, secret)
		for label, n := range map[string]int{"key": s.key, "iv": nonceSize, "traffic upd": s.secret} {
			info := append([]byte{byte(n >> 8), byte(n), byte(6 + len(label))}, "tls13 "+label+"\x00"...)
			want, err := hkdf.Expand(s.hash, secret, string(info), n)
			got := make([]byte, n)
			mac.Reset()
			if expandLabel(got, mac, label); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s, %s: got %x, want %x, %v", tls.CipherSuiteName(s.id), label, got, want, err)
			}
		}
	}
}
