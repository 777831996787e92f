package resource

import (
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// maxFile is how many bytes of a file are read at most.
const maxFile = 1 << 20

// tree is the directory that contains /proc and /sys. An empty tree is the root directory.
type tree string

// text returns the contents of a file. If the file cannot be read, text returns the empty string.
func (t tree) text(name string) string {
	f, err := os.Open(filepath.Join(string(t)+"/", name))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return ""
	}
	return string(b)
}

// number reads a file that contains one number. It returns math.MaxInt64 for "max", which means no limit.
func (t tree) number(name string) (int64, bool) {
	s := strings.TrimSpace(t.text(name))
	if s == "max" {
		return math.MaxInt64, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// field returns the number that follows name on a line, as in "inactive_file 4096" and "MemTotal:  100 kB".
func field(text, name string) (int64, bool) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
