//go:build linux

package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestScreen checks that a screen shows what a terminal would, and notes what changes.
func TestScreen(t *testing.T) {
	for _, tt := range []struct{ name, written, want string }{
		{"lines", "a\r\nb\r\n", "a\nb\n\n"},
		{"progress", "\r1 of 10\x1b[K\r2 of 10\x1b[K\rdone\x1b[K", "done\n"},
		{"a shorter text without clearing", "1234\r56", "5634\n"},
		{"colors", "\x1b[1;31mred\x1b[0m", "red\n"},
		{"a long line", "123456789012", "1234567890\n12\n"},
		{"characters of several bytes", "µ…", "µ…\n"},
	} {
		whole, pieces := newScreen(10), newScreen(10)
		whole.write(0, []byte(tt.written))
		for i := range len(tt.written) {
			pieces.write(0, []byte{tt.written[i]})
		}
		if got := whole.text(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
		if got := pieces.text(); got != tt.want {
			t.Errorf("%s, byte by byte: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// TestTexts checks from when to when a text is shown.
func TestTexts(t *testing.T) {
	s := newScreen(20)
	s.write(1*time.Second, []byte("first\r\n10 %"))
	s.write(2*time.Second, []byte("\r20 %"))
	s.write(3*time.Second, []byte("\r\x1b[Kend"))
	want := []shown{
		{0, 1 * time.Second, 9 * time.Second, "first"},
		{1, 1 * time.Second, 2 * time.Second, "10 %"},
		{1, 2 * time.Second, 3 * time.Second, "20 %"},
		{1, 3 * time.Second, 9 * time.Second, "end"},
	}
	got := s.texts(9 * time.Second)
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("text %d: got %v, want %v", i, got[i], want[i])
		}
	}
}

// TestPicture checks that a picture is XML, and shows each text for its time, and the last ones to those who want no
// motion.
func TestPicture(t *testing.T) {
	s := newScreen(20)
	s.write(1*time.Second, []byte("$ a <b> & c\r\n10 %"))
	s.write(2*time.Second, []byte("\r20 %"))
	svg := picture([]pane{{"title", s}}, 4*time.Second)
	for d := xml.NewDecoder(strings.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in %s", err, svg)
		}
	}
	for _, want := range []string{
		"$ a &lt;b&gt; &amp; c</text>", "@keyframes k2{25%{visibility:visible}50%{visibility:hidden}}",
		"@keyframes k3{50%{visibility:visible}to{visibility:visible}}", `class="l s e"`, "prefers-reduced-motion",
	} {
		if !strings.Contains(svg, want) {
			t.Errorf("the picture has no %q: %s", want, svg)
		}
	}
}

// TestRecording checks what the recording in docs promises.
func TestRecording(t *testing.T) {
	svg, err := os.ReadFile("../../docs/pictures/reload.svg")
	if err != nil {
		t.Fatal(err)
	}
	if len(svg) > 60<<10 {
		t.Errorf("the recording has %d bytes, want at most 60 KiB", len(svg))
	}
	for _, want := range []string{"0 failed", "0 closed by the server", "0 unanswered", "connections moved in"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("the recording does not show %q", want)
		}
	}
}
