package doctor

import (
	"math"
	"path"
	"strconv"
	"strings"
)

// maxDepth is the number of levels of groups that are examined.
const maxDepth = 64

// mount is the place of a hierarchy of groups in the file system.
type mount struct {
	root, point string // in the hierarchy, and in the file system
	v2          bool
	controllers []string
}

// cgroups returns the limits of all groups of this process, of version 1, 2 or both, from the innermost outwards.
func (t tree) cgroups() []Cgroup {
	var list []Cgroup
	paths := t.cgroupPaths()
	for _, m := range t.cgroupMounts() {
		rel, ok := paths[m.key()]
		if !ok {
			continue
		}
		for dir, depth := m.below(rel), 0; depth < maxDepth; dir, depth = path.Dir(dir), depth+1 {
			g := Cgroup{Path: dir, Memory: Unlimited, Tasks: Unlimited}
			if m.v2 {
				t.readV2(m.point+dir, &g)
			} else {
				t.readV1(m.point+dir, m.controllers, &g)
			}
			if g.MemoryKnown || g.TasksKnown {
				list = append(list, g)
			}
			if dir == "/" {
				break
			}
		}
	}
	return list
}

// key returns the name of the hierarchy in /proc/self/cgroup: its controllers, or "" for version 2.
func (m mount) key() string {
	if m.v2 || len(m.controllers) == 0 {
		return ""
	}
	return m.controllers[0]
}

// below returns the path of a group from the mount point. For a path outside of what is mounted, as in a container with
// a view of its own, it returns the mount point itself.
func (m mount) below(group string) string {
	rel, ok := strings.CutPrefix(group, strings.TrimSuffix(m.root, "/"))
	if !ok || (rel != "" && rel[0] != '/') || strings.Contains(rel, "/..") {
		return "/"
	}
	return path.Clean("/" + rel)
}

// cgroupPaths returns the groups of this process by controller. That of version 2 has the name "".
func (t tree) cgroupPaths() map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(t.text("proc/self/cgroup")) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		for c := range strings.SplitSeq(f[1], ",") {
			m[c] = f[2]
		}
	}
	return m
}

// cgroupMounts parses /proc/self/mountinfo: "30 22 0:27 /root /point options - type source superoptions". It returns
// one mount for each hierarchy, the first.
func (t tree) cgroupMounts() []mount {
	var list []mount
	seen := make(map[string]bool)
	for line := range strings.Lines(t.text("proc/self/mountinfo")) {
		before, after, ok := strings.Cut(line, " - ")
		f, fs := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(fs) < 3 || (fs[0] != "cgroup" && fs[0] != "cgroup2") {
			continue
		}
		m := mount{root: f[3], point: f[4], v2: fs[0] == "cgroup2"}
		for o := range strings.SplitSeq(fs[2], ",") {
			if o == "memory" || o == "pids" {
				m.controllers = append(m.controllers, o)
			}
		}
		if (m.v2 || len(m.controllers) > 0) && !seen[m.key()] {
			seen[m.key()] = true
			list = append(list, m)
		}
	}
	return list
}

// readV2 reads a group of version 2. The kernel throttles processes beyond memory.high, so it counts as the limit.
func (t tree) readV2(dir string, g *Cgroup) {
	limit, ok := t.number(dir + "/memory.max")
	if high, okHigh := t.number(dir + "/memory.high"); okHigh {
		limit = min(high, limit)
	}
	used, okUsed := t.number(dir + "/memory.current")
	g.setMemory(limit, used-t.stat(dir+"/memory.stat", "inactive_file"), ok && okUsed)
	tasks, ok := t.number(dir + "/pids.max")
	now, okNow := t.number(dir + "/pids.current")
	g.setTasks(tasks, now, ok && okNow)
}

// readV1 reads a group of version 1, where each controller has its own hierarchy.
func (t tree) readV1(dir string, controllers []string, g *Cgroup) {
	for _, c := range controllers {
		switch c {
		case "memory":
			limit, ok := t.number(dir + "/memory.limit_in_bytes")
			used, okUsed := t.number(dir + "/memory.usage_in_bytes")
			g.setMemory(limit, used-t.stat(dir+"/memory.stat", "total_inactive_file"), ok && okUsed)
		case "pids":
			tasks, ok := t.number(dir + "/pids.max")
			now, okNow := t.number(dir + "/pids.current")
			g.setTasks(tasks, now, ok && okNow)
		}
	}
}

// setMemory sets a memory limit. Version 1 represents no limit as a number of almost 2^63.
func (g *Cgroup) setMemory(limit, used int64, known bool) {
	if known && limit < math.MaxInt64-1<<20 {
		g.Memory, g.MemoryUsed, g.MemoryKnown = limit, max(used, 0), true
	}
}

func (g *Cgroup) setTasks(limit, used int64, known bool) {
	if known && limit != Unlimited {
		g.Tasks, g.TasksUsed, g.TasksKnown = limit, used, true
	}
}

// stat returns a field of a memory.stat.
func (t tree) stat(file, field string) int64 {
	for line := range strings.Lines(t.text(file)) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == field {
			n, err := strconv.ParseInt(f[1], 10, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}
