package human

import (
	"math"
	"testing"
)

func TestNumber(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0", 999: "999", 1000: "1,000", 18_000: "18,000", 1_234_567: "1,234,567", 1<<64 - 1: "18,446,744,073,709,551,615",
	} {
		if got := Number(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
	if got := Number(-18_000); got != "-18,000" {
		t.Errorf("got %q, want -18,000", got)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0 processes", 1: "1 process", 18_000: "18,000 processes"} {
		if got := Count(n, "process"); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 999: "999 B", 1000: "1.0 KiB", 1024: "1.0 KiB", 4200: "4.1 KiB", 99 << 10: "99.0 KiB", 102_390: "100 KiB",
		512 << 20: "512 MiB", 1<<30 - 1: "1.0 GiB", 1<<64 - 1: "16.0 EiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
	}
	if got := Bytes(1536.0); got != "1.5 KiB" {
		t.Errorf("got %q, want 1.5 KiB", got)
	}
}

func TestSeconds(t *testing.T) {
	for s, want := range map[float64]string{
		-1: "0s", 0: "0s", math.Inf(1): "0s", 0.34: "340ms", 0.00034: "340µs", 0.001234: "1.23ms", 4.084: "4.08s",
		123.44: "2m3s", 0.0000000123: "10ns",
	} {
		if got := Seconds(s); got != want {
			t.Errorf("%g: got %q, want %q", s, got, want)
		}
	}
	if got := Seconds(math.NaN()); got != "0s" {
		t.Errorf("NaN: got %q, want 0s", got)
	}
}

func TestAge(t *testing.T) {
	for s, want := range map[float64]string{
		-1: "0s", 0.9: "0s", 59: "59s", 725: "12m 5s", 3600: "1h 0m", 76 * 3600: "3d 4h", 1e300: "0s",
	} {
		if got := Age(s); got != want {
			t.Errorf("%g: got %q, want %q", s, got, want)
		}
	}
}

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{"": "", "a ü": "a ü", "a\x1b[2J": `a\x1b[2J`, "\n": `\n`} {
		if got := Printable(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}

func TestTruncate(t *testing.T) {
	for s, want := range map[string]string{"": "", "äöü": "äöü", "äöüß": "äö…"} {
		if got := Truncate(s, 3); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
	}
}
