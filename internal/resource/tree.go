package resource

import (
	"io"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxFile bounds what is read of a file, in bytes.
	maxFile = 1 << 20
	// maxDepth is the number of levels of groups that are read.
	maxDepth = 32
	// noLimit is the smallest number that means no limit: version 1 writes almost 2^63.
	noLimit = 1 << 62
)

// tree is the folder at which all paths begin.
type tree string

// text returns the contents of a file; empty if it cannot be read.
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

// number reads a file that holds one number, or "max" for no limit.
func (t tree) number(name string) (int64, bool) {
	s := strings.TrimSpace(t.text(name))
	if s == "max" {
		return math.MaxInt64, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// field returns the number after a name, as in "inactive_file 4096" and "MemTotal:  100 kB".
func field(text, name string) (int64, bool) {
	for line := range strings.Lines(text) {
		if f := strings.Fields(line); len(f) >= 2 && f[0] == name {
			n, err := strconv.ParseInt(f[1], 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// machine reads /proc/meminfo. Swap does not count: a server that waits for it no longer serves.
func (t tree) machine() (bound, bool) {
	text := t.text("proc/meminfo")
	total, ok := field(text, "MemTotal:")
	available, known := field(text, "MemAvailable:")
	return bound{machine, total << 10, available << 10}, ok && known && total > 0
}

// groups reads the limits of all groups that this process is in, from the innermost outwards.
func (t tree) groups() []bound {
	var list []bound
	t.walk("memory", func(m mount, dir string) {
		if b, ok := t.group(m, dir); ok {
			list = append(list, b)
		}
	})
	return list
}

// walk visits the groups of a controller that this process is in, from the innermost outwards.
func (t tree) walk(controller string, visit func(m mount, dir string)) {
	paths := t.paths(controller)
	for _, m := range t.mounts(controller) {
		group, ok := paths[m.version]
		if !ok {
			continue
		}
		dir := m.below(group)
		for range maxDepth {
			visit(m, dir)
			if dir == "/" {
				break
			}
			dir = path.Dir(dir)
		}
	}
}

// version is the version of a hierarchy of groups.
type version int

const (
	v1 version = 1 // one hierarchy for each controller
	v2 version = 2
)

// paths returns the groups of this process in the hierarchies that may have the controller.
func (t tree) paths(controller string) map[version]string {
	m := make(map[version]string)
	for line := range strings.Lines(t.text("proc/self/cgroup")) { // "4:memory:/a/b", "0::/a/b"
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(f) != 3:
		case f[1] == "":
			m[v2] = f[2]
		case slices.Contains(strings.Split(f[1], ","), controller):
			m[v1] = f[2]
		}
	}
	return m
}

// mount is where a hierarchy is mounted.
type mount struct {
	version     version
	root, point string // the group at the mount point, and the mount point
}

// mounts reads /proc/self/mountinfo: "30 22 0:27 /root /point options - type source superoptions".
func (t tree) mounts(controller string) (list []mount) {
	for line := range strings.Lines(t.text("proc/self/mountinfo")) {
		before, after, ok := strings.Cut(line, " - ")
		f, fs := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(fs) < 3 {
			continue
		}
		m := mount{root: f[3], point: f[4]}
		switch {
		case fs[0] == "cgroup2":
			m.version = v2
		case fs[0] == "cgroup" && slices.Contains(strings.Split(fs[2], ","), controller):
			m.version = v1
		default:
			continue
		}
		if !slices.ContainsFunc(list, func(o mount) bool { return o.version == m.version }) {
			list = append(list, m)
		}
	}
	return list
}

// below returns the path of a group from the mount point on. In a container the group may lie outside of what is
// mounted: then it is that of the mount point.
func (m mount) below(group string) string {
	rel, ok := strings.CutPrefix(group, strings.TrimSuffix(m.root, "/"))
	if !ok || (rel != "" && rel[0] != '/') || strings.Contains(rel, "/..") {
		return "/"
	}
	return path.Clean("/" + rel)
}

// group reads one group. Processes above memory.high are stopped again and again, so that it counts as a limit.
func (t tree) group(m mount, dir string) (bound, bool) {
	at := path.Join(m.point, dir)
	limitFile, usedFile, cache := "memory.max", "memory.current", "inactive_file"
	if m.version == v1 {
		limitFile, usedFile, cache = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
	}
	limit, ok := t.number(path.Join(at, limitFile))
	if high, known := t.number(path.Join(at, "memory.high")); known && m.version == v2 {
		limit = min(limit, high)
	}
	used, known := t.number(path.Join(at, usedFile))
	if !ok || !known || limit >= noLimit {
		return bound{}, false
	}
	files, _ := field(t.text(path.Join(at, "memory.stat")), cache)
	return bound{dir, limit, limit - max(used-files, 0)}, true
}
