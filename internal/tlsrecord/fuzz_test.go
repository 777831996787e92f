package tlsrecord

import (
	"bytes"
	"crypto/tls"
	"errors"
	"testing"
)

// FuzzReader opens records with the contents, types and padding of an attacker who has the keys. What comes out is what
// went in as data, up to the first record that is refused, after which nothing does. A content is a type, a length of
// padding, a length, and bytes.
func FuzzReader(f *testing.F) {
	f.Add(uint8(0), []byte("\x17\x00\x02hi\x16\x00\x05\x18\x00\x00\x01\x01\x17\x05\x01x\x15\x00\x02\x01\x00"))
	f.Add(uint8(1), []byte("\x16\x00\x02\x18\x00\x16\x00\x03\x00\x01\x00"))
	f.Add(uint8(2), []byte("\x15\x00\x02\x02\x28"))
	f.Fuzz(func(t *testing.T, suite uint8, script []byte) {
		w, r := pair(t, allSuites[int(suite)%len(allSuites)])
		var want, got []byte
		for len(script) >= 3 {
			kind, padding, size := script[0], int(script[1]), min(int(script[2]), len(script)-3)
			content := script[3 : 3+size]
			script = script[3+size:]
			record := w.sealed(t, content, kind, padding)
			if inner := bytes.TrimRight(append(bytes.Clone(content), kind), "\x00"); kind == 0 && len(inner) > 0 {
				content, kind = inner[:len(inner)-1], inner[len(inner)-1] // zeros are padding: RFC 8446 §5.4
			}
			var opened Kind
			var err error
			before := len(got)
			got, opened, err = r.Open(got, record)
			if err == nil && kind == typeData {
				want = append(want, content...)
			}
			if err == nil && opened >= Updated && opened <= Requested {
				if err := w.next(); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(got, want) || err != nil && len(got) != before {
				t.Fatalf("got %q, want %q, %v", got, want, err)
			}
			if err == nil {
				again, errState := ParseReader(r.AppendState(nil))
				if errState != nil || !again.Equal(&r.half) {
					t.Fatalf("the state does not continue: %v", errState)
				}
				r = again
			} else if _, _, again := r.Open(nil, record); !errors.Is(again, errClosed) {
				t.Fatalf("after %v: %v", err, again)
			}
		}
	})
}

// FuzzStream opens bytes of somebody without the keys: nothing comes out.
func FuzzStream(f *testing.F) {
	f.Add([]byte("\x17\x03\x03\x00\x13\xc9\x87\x27\x60\x65\x56\x66\xb7\x4d\x7f\xf1\x15\x3e\xfd\x6d\xb6\xd0\xb0\xe3"))
	f.Add([]byte("\x15\x03\x03\x00\x02\x01\x00"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		_, r := pair(t, tls.TLS_AES_128_GCM_SHA256)
		for {
			n, err := Length(stream)
			if err != nil || n == 0 || n > len(stream) {
				return
			}
			if n < HeaderSize || n > MaxRecord {
				t.Fatalf("a record of %d bytes", n)
			}
			if got, kind, err := r.Open(nil, stream[:n]); err == nil || len(got) > 0 {
				t.Fatalf("%q, %v", got, kind)
			}
			stream = stream[n:]
		}
	})
}

// FuzzWriter seals bytes in any parts, up to any limit, and opens them again.
func FuzzWriter(f *testing.F) {
	f.Add(uint8(0), []byte("\x01\x00\x05"), 10, []byte("hello"))
	f.Add(uint8(1), []byte("\x02"), 3, []byte("hello"))
	f.Add(uint8(2), []byte(""), 100_000, bytes.Repeat([]byte("x"), 40_000))
	f.Fuzz(func(t *testing.T, suite uint8, cuts []byte, limit int, content []byte) {
		w, r := pair(t, allSuites[int(suite)%len(allSuites)])
		var parts [][]byte
		rest := content
		for _, c := range cuts {
			n := min(int(c), len(rest))
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		parts = append(parts, rest)
		stream, n, err := w.Append(nil, parts, limit)
		if err != nil || n != max(min(limit, len(content)), 0) || len(stream) != n+(n+maxPlain-1)/maxPlain*Overhead {
			t.Fatalf("took %d of %d, limit %d, %d bytes, %v", n, len(content), limit, len(stream), err)
		}
		var got []byte
		var kinds []Kind
		if left := openAll(t, r, stream, &got, &kinds); len(left) > 0 || !bytes.Equal(got, content[:n]) {
			t.Fatalf("%d bytes are left, got %q", len(left), got)
		}
	})
}

// FuzzState: what is a state is written back as it was, except that the first byte of a message means nothing if none of
// it has come. Earlier versions have left the one of the message before.
func FuzzState(f *testing.F) {
	for _, suite := range allSuites {
		w, r := pair(f, suite)
		f.Add(r.AppendState(nil))
		f.Add(w.AppendState(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseReader(b); err == nil {
			want := bytes.Clone(b)
			if r.parts == 0 {
				want[16] = 0
			}
			if got := r.AppendState(nil); !bytes.Equal(got, want) {
				t.Errorf("a Reader differs: %x, want %x", got, want)
			}
		}
		if w, err := ParseWriter(b); err == nil {
			if _, err := ParseWriter(w.AppendState(nil)); err != nil {
				t.Error(err)
			}
		}
	})
}
