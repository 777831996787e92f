package resource

import (
	"path"
	"slices"
	"strings"
)

// maxDepth is how many levels of cgroups are read at most.
const maxDepth = 32

// version is the version of a cgroup hierarchy. A machine may use both versions at once.
type version int

const (
	v1 version = 1 // each controller has a hierarchy
	v2 version = 2 // all controllers share one hierarchy
)

// walk calls visit for each cgroup that applies to this process and may have the controller, from the innermost to the
// root of its hierarchy.
func (t tree) walk(controller string, visit func(m mount, dir string)) {
	paths := t.paths(controller)
	for _, m := range t.mounts(controller) {
		cgroup, ok := paths[m.version]
		if !ok {
			continue
		}
		dir := m.below(cgroup)
		for range maxDepth {
			visit(m, dir)
			if dir == "/" {
				break
			}
			dir = path.Dir(dir)
		}
	}
}

// paths returns the path of the cgroup of this process in each hierarchy that may have the controller.
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

// mount is a mounted hierarchy.
type mount struct {
	version version
	root    string // path of the cgroup at the mount point
	point   string // directory of the mount point
}

// mounts returns the first mount of each hierarchy that may have the controller. It reads /proc/self/mountinfo, whose
// lines are "30 22 0:27 /root /point options - type source superoptions".
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

// below returns the path of a cgroup relative to the mount point. In a container, the cgroup may be outside of the part
// of the hierarchy that is mounted; then below returns the path of the mount point itself, "/".
func (m mount) below(cgroup string) string {
	rel, ok := strings.CutPrefix(cgroup, strings.TrimSuffix(m.root, "/"))
	if !ok || (rel != "" && rel[0] != '/') || strings.Contains(rel, "/..") {
		return "/"
	}
	return path.Clean("/" + rel)
}
