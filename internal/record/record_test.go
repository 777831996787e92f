package record_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"testing"

	"github.com/expedite-go/expedite/internal/record"
)

// TestBytes fixes the format byte by byte.
func TestBytes(t *testing.T) {
	var b []byte
	b = record.Append(b, 0x01, "abc")
	b = record.Append(b, 0x02, []byte(nil))
	b = record.AppendUint64(b, record.Optional, 0x0102)
	b = append(record.AppendHeader(b, 0x03, 2), 0x34, 0x12)
	b = record.AppendText(b, "xy")
	want := "\x01\x03abc\x02\x00\x80\x08\x02\x01\x00\x00\x00\x00\x00\x00\x03\x02\x34\x12\x02xy"
	if string(b) != want {
		t.Fatalf("got %x, want %x", b, want)
	}
	long := record.Append(nil, 0x01, make([]byte, 300))
	if !bytes.HasPrefix(long, []byte{0x01, 0xac, 0x02, 0}) || len(long) != 303 {
		t.Errorf("got a record of %d bytes that begins with %x", len(long), long[:4])
	}
}

// TestDecoder reads from a string and from a byte slice what was appended.
func TestDecoder(t *testing.T) {
	b := record.Append(nil, 0x01, "abc")
	b = binary.LittleEndian.AppendUint16(b, 0xfffe)
	b = binary.LittleEndian.AppendUint32(b, math.MaxUint32)
	b = binary.LittleEndian.AppendUint64(b, math.MaxUint64)
	b = binary.LittleEndian.AppendUint64(b, 1<<63)
	b = binary.AppendUvarint(b, math.MaxUint64)
	b = binary.AppendVarint(b, math.MinInt64)
	b = append(record.AppendText(b, "text"), "rest"...)
	t.Run("string", func(t *testing.T) { read(t, record.NewDecoder(string(b))) })
	t.Run("bytes", func(t *testing.T) { read(t, record.NewDecoder(b)) })
}

func read[T string | []byte](t *testing.T, d record.Decoder[T]) {
	if tag, value := d.Next(); tag != 0x01 || string(value) != "abc" {
		t.Errorf("got record %#x %q, want 0x1 abc", tag, value)
	}
	if v := d.Uint16(); v != 0xfffe {
		t.Errorf("got %#x, want 0xfffe", v)
	}
	if v := d.Uint32(); v != math.MaxUint32 {
		t.Errorf("got %#x, want the largest", v)
	}
	if v := d.Uint64(); v != math.MaxUint64 {
		t.Errorf("got %#x, want the largest", v)
	}
	if v := d.Int64(); v != math.MinInt64 {
		t.Errorf("got %d, want the least", v)
	}
	if v := d.Uvarint(); v != math.MaxUint64 {
		t.Errorf("got %#x, want the largest", v)
	}
	if v := d.Varint(); v != math.MinInt64 {
		t.Errorf("got %d, want the least", v)
	}
	if v := d.Text(); string(v) != "text" {
		t.Errorf("got %q, want text", v)
	}
	if v := d.Rest(); string(v) != "rest" || d.More() || d.End() != nil {
		t.Errorf("got %q, more %v, %v, want rest and the end", v, d.More(), d.End())
	}
}

// TestFirstErrorSticks: after an error all values are zero and the error stays the first.
func TestFirstErrorSticks(t *testing.T) {
	for name, tt := range map[string]struct {
		in   string
		read func(*record.Decoder[string])
		want error
	}{
		"byte":                     {"", func(d *record.Decoder[string]) { d.Byte() }, record.ErrCutOff},
		"uint64":                   {"1234567", func(d *record.Decoder[string]) { d.Uint64() }, record.ErrCutOff},
		"text":                     {"\x03ab", func(d *record.Decoder[string]) { d.Text() }, record.ErrCutOff},
		"record without a length":  {"\x01", func(d *record.Decoder[string]) { d.Next() }, record.ErrCutOff},
		"record of 2^63 bytes":     {"\x01\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", func(d *record.Decoder[string]) { d.Next() }, record.ErrCutOff},
		"uvarint without an end":   {"\xff\xff", func(d *record.Decoder[string]) { d.Uvarint() }, record.ErrCutOff},
		"uvarint of 65 bits":       {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", func(d *record.Decoder[string]) { d.Uvarint() }, record.ErrCutOff},
		"uvarint of eleven bytes":  {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", func(d *record.Decoder[string]) { d.Uvarint() }, record.ErrCutOff},
		"bytes after the last one": {"\x01\x02", func(d *record.Decoder[string]) { d.Byte() }, record.ErrTrailing},
	} {
		t.Run(name, func(t *testing.T) {
			d := record.NewDecoder(tt.in)
			tt.read(&d)
			if err := d.End(); !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			d.Fail(errors.New("later"))
			if tag, value := d.Next(); tag != 0 || value != "" || d.Uint32() != 0 || d.Varint() != 0 || d.More() {
				t.Errorf("got values after an error")
			}
			if err := d.End(); !errors.Is(err, tt.want) {
				t.Errorf("got %v, want the first error, %v", err, tt.want)
			}
		})
	}
}

// TestNothingAllocates holds the promise of the package comment.
func TestNothingAllocates(t *testing.T) {
	b := record.Append(record.AppendUint64(nil, 0x01, 7), 0x02, "alice")
	s, dst := string(b), make([]byte, 0, 64)
	var n uint64
	allocs := testing.AllocsPerRun(100, func() {
		dst = record.Append(record.AppendUint64(dst[:0], 0x01, 7), 0x02, "alice")
		for d := record.NewDecoder(dst); d.More(); {
			tag, value := d.Next()
			v := record.NewDecoder(value)
			if tag == 0x01 {
				n += v.Uint64()
			}
		}
		for d := record.NewDecoder(s); d.More(); {
			_, value := d.Next()
			n += uint64(len(value))
		}
	})
	if allocs != 0 {
		t.Errorf("got %v allocations, want none", allocs)
	}
}

// FuzzDecoder: any input ends, as a string and as bytes alike, and records that were read can be written again.
func FuzzDecoder(f *testing.F) {
	f.Add(record.Append(record.AppendUint64(nil, 0x01, 7), 0x80, "alice"))
	f.Add([]byte("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var again, tags []byte
		var values []string
		d, s := record.NewDecoder(b), record.NewDecoder(string(b))
		for d.More() {
			tag, value := d.Next()
			stag, svalue := s.Next()
			if tag != stag || string(value) != svalue || !errors.Is(s.Err(), d.Err()) {
				t.Fatalf("got %#x %q, %v of bytes, and %#x %q, %v of a string", tag, value, d.Err(), stag, svalue, s.Err())
			}
			if d.Err() == nil {
				again, tags, values = record.Append(again, tag, value), append(tags, tag), append(values, svalue)
			}
		}
		if (d.Err() == nil) != (d.End() == nil) {
			t.Fatalf("got %v, then %v at the end", d.Err(), d.End())
		}
		r := record.NewDecoder(again)
		for i := range tags {
			if tag, value := r.Next(); tag != tags[i] || string(value) != values[i] {
				t.Fatalf("got %#x %q of what was written again, want %#x %q", tag, value, tags[i], values[i])
			}
		}
		if err := r.End(); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzUvarint: numbers are those of encoding/binary, and so is what is no number.
func FuzzUvarint(f *testing.F) {
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte("\x80\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, signed := record.NewDecoder(b), record.NewDecoder(b)
		got, gotSigned := d.Uvarint(), signed.Varint()
		want, n := binary.Uvarint(b)
		wantSigned, _ := binary.Varint(b)
		if n <= 0 {
			want, wantSigned = 0, 0
		}
		if got != want || gotSigned != wantSigned || (d.Err() == nil) != (n > 0) {
			t.Fatalf("got %d, %d, %v, want %d, %d of %d bytes", got, gotSigned, d.Err(), want, wantSigned, n)
		}
		if n > 0 && !bytes.Equal(d.Rest(), b[n:]) {
			t.Fatal("read too much or too little")
		}
	})
}
