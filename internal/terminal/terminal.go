// Package terminal writes to terminals: whether a writer is one, colors, and a line that is redrawn in place.
package terminal

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/expedite-go/expedite/internal/human"
)

// Width is the longest line that [Redraw] writes, in columns: a line that wraps could not be redrawn.
const Width = 79

// Is reports whether w is a terminal. A nil or closed file is not.
func Is(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && f != nil && isTerminal(f)
}

// CanRedraw reports whether w is a terminal that can move its cursor.
func CanRedraw(w io.Writer) bool { return Is(w) && os.Getenv("TERM") != "dumb" }

// HasColor reports whether w is a terminal that shows colors, and the user wants them: https://no-color.org
func HasColor(w io.Writer) bool { return CanRedraw(w) && os.Getenv("NO_COLOR") == "" }

// Redraw replaces the current line of the terminal w by text, which it truncates to [Width].
func Redraw(w io.Writer, text string) {
	fmt.Fprintf(w, "\r%s\x1b[K", human.Truncate(text, Width)) // back to the line's start; clear the rest
}

// Bar returns a progress bar of width columns between brackets. Share is from 0 to 1.
func Bar(share float64, width int) string {
	full := min(max(int(share*float64(width)+0.5), 0), width)
	return "[" + strings.Repeat("#", full) + strings.Repeat("-", width-full) + "]"
}
