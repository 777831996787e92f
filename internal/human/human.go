// Package human formats numbers, sizes and times for people.
package human

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
)

// Integer is a count.
type Integer interface{ int | int64 | uint64 }

// Number returns n with its digits in groups of three: 18,000.
func Number[N Integer](n N) string {
	if n < 0 {
		return humanize.Comma(int64(n))
	}
	return humanize.BigComma(new(big.Int).SetUint64(uint64(n)))
}

// Count returns n and the noun, in the plural unless n is 1: 1 worker, 18,000 connections.
func Count[N Integer](n N, noun string) string {
	return Number(n) + " " + Noun(n, noun)
}

// Noun returns the noun, in the plural unless n is 1.
func Noun[N Integer](n N, noun string) string {
	if n == 1 {
		return noun
	}
	return english.PluralWord(2, noun, "")
}

// Bytes returns a number of bytes in a binary unit, with one decimal below 100: 812 B, 4.1 KiB, 512 MiB.
func Bytes[N Integer | float64](n N) string {
	units := [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}
	f, i := float64(n), 0
	for f >= 999.5 && i < len(units)-1 { // not 1024: at most three digits keep columns narrow
		f, i = f/1024, i+1
	}
	decimals := 0
	if i > 0 && f < 99.95 {
		decimals = 1
	}
	return strconv.FormatFloat(f, 'f', decimals, 64) + " " + units[i]
}

// Seconds returns a time with three digits: 340µs, 1.23ms, 4.08s, 2m3s. Negative times, NaN and times of more than 68
// years are 0s.
func Seconds(seconds float64) string {
	if !(seconds > 0) || seconds > math.MaxInt32 {
		return "0s"
	}
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Microsecond:
		return d.Round(10 * time.Nanosecond).String()
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 100*time.Second:
		return d.Round(10 * time.Millisecond).String()
	default:
		return d.Round(time.Second).String()
	}
}

// Age returns a time in its two largest units: 3d 4h, 12m 5s. Negative times and NaN are 0s.
func Age(seconds float64) string {
	if !(seconds > 0) || seconds > math.MaxInt32*float64(24*3600) {
		return "0s"
	}
	s := int64(seconds)
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	case s < 24*3600:
		return fmt.Sprintf("%dh %dm", s/3600, s/60%60)
	default:
		return fmt.Sprintf("%dd %dh", s/(24*3600), s/3600%24)
	}
}

// Printable returns s, or s with Go escape sequences if it contains characters that could control a terminal.
func Printable(s string) string {
	for _, r := range s {
		if !unicode.IsPrint(r) {
			q := strconv.Quote(s)
			return q[1 : len(q)-1]
		}
	}
	return s
}

// Truncate shortens s to at most columns characters, the last of which is then an ellipsis.
func Truncate(s string, columns int) string {
	if utf8.RuneCountInString(s) <= columns {
		return s
	}
	return string([]rune(s)[:columns-1]) + "…"
}
