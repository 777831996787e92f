package doctor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"

	"github.com/expedite-go/expedite/internal/resource"
)

const (
	maxFile  = 4 << 20 // bytes of a file that are read; a mountinfo may be long
	maxLinks = 64      // network interfaces that are examined
)

// clockSource is the file that selects the clock source.
const clockSource = "sys/devices/system/clocksource/clocksource0/current_clocksource"

// ErrUnsupported is returned on systems that the package cannot examine.
var ErrUnsupported = errors.New("doctor: only Linux can be examined")

// Options are the facts that no file contains. The zero value takes them from this process.
type Options struct {
	// Env looks up an environment variable. Nil: os.Getenv.
	Env func(string) string
	// Go replaces the settings of the runtime of this process. Nil: they are read.
	Go *GoSettings
	// Synchronized reports whether the clock is synchronized. Nil: the kernel is asked.
	Synchronized func() (bool, error)
}

// Read examines the machine whose /proc and /sys are below root, or this one if root is empty. What cannot be read is
// absent. The only error is [ErrUnsupported]. Read does not block, and starts no goroutines.
func Read(root string, o Options) (Machine, error) {
	if root == "" && runtime.GOOS != "linux" {
		return Machine{}, fmt.Errorf("%w; this is %s", ErrUnsupported, runtime.GOOS)
	}
	if o.Env == nil {
		o.Env = os.Getenv
	}
	if o.Synchronized == nil {
		o.Synchronized = synchronized
	}
	t := tree(root)
	m := Machine{
		Kernel:    t.line("proc/sys/kernel/osrelease"),
		Sysctl:    t.settings(),
		OpenFiles: t.limit("Max open files"),
		Processes: t.limit("Max processes"),
		Memory:    t.memory(),
		Cgroups:   t.cgroups(),
		Sockets:   t.sockets(),
		Links:     t.links(),
		HugePages: chosen(t.line("sys/kernel/mm/transparent_hugepage/enabled")),
		User:      t.user(),
	}
	m.CPU = t.cpu()
	m.Container = t.container(o.Env)
	m.Clock.Source = t.line(clockSource)
	if ok, err := o.Synchronized(); err == nil {
		m.Clock.Synchronized = &ok
	}
	if o.Go != nil {
		m.Go = *o.Go
	} else {
		m.Go = goSettings()
	}
	return m, nil
}

// tree is the folder that paths are relative to.
type tree string

// text returns the content of a file, or "".
func (t tree) text(path string) string {
	f, err := os.Open(filepath.Join(string(t)+"/", path))
	if err != nil {
		return ""
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil { // EINVAL of an interface without a speed, for instance
		return ""
	}
	return string(b)
}

// line returns the content of a file with one line.
func (t tree) line(path string) string { return strings.TrimSpace(t.text(path)) }

func (t tree) exists(path string) bool {
	_, err := os.Stat(filepath.Join(string(t)+"/", path))
	return err == nil
}

// number returns the content of a file with one number. The word "max", which cgroups use, is Unlimited.
func (t tree) number(path string) (int64, bool) {
	s := t.line(path)
	if s == "max" {
		return Unlimited, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// settings reads the kernel settings.
func (t tree) settings() map[string]string {
	m := make(map[string]string)
	for _, key := range settings {
		path := "proc/sys/" + strings.ReplaceAll(key, ".", "/")
		if s := t.line(path); s != "" || t.exists(path) { // an empty list of ports is a value
			m[key] = strings.Join(strings.Fields(s), " ")
		}
	}
	return m
}

// limit returns a line of /proc/self/limits.
func (t tree) limit(name string) *Range {
	for line := range strings.Lines(t.text("proc/self/limits")) {
		rest, ok := strings.CutPrefix(line, name+" ")
		f := strings.Fields(rest)
		if !ok || len(f) < 2 {
			continue
		}
		soft, okSoft := bound(f[0])
		hard, okHard := bound(f[1])
		if okSoft && okHard {
			return &Range{soft, hard}
		}
	}
	return nil
}

func bound(s string) (int64, bool) {
	if s == "unlimited" {
		return Unlimited, true
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil && n >= 0
}

// memory parses /proc/meminfo. Kernels before 3.14 do not report the available memory.
func (t tree) memory() *Memory {
	kib := make(map[string]int64)
	for line := range strings.Lines(t.text("proc/meminfo")) {
		name, rest, _ := strings.Cut(line, ":")
		if f := strings.Fields(rest); len(f) > 0 {
			if n, err := strconv.ParseInt(f[0], 10, 64); err == nil {
				kib[name] = n
			}
		}
	}
	if kib["MemTotal"] <= 0 {
		return nil
	}
	if _, ok := kib["MemAvailable"]; !ok {
		return nil
	}
	return &Memory{
		Total: kib["MemTotal"] << 10, Available: kib["MemAvailable"] << 10,
		SwapTotal: kib["SwapTotal"] << 10, SwapFree: kib["SwapFree"] << 10,
	}
}

// sockets parses /proc/net/sockstat: lines like "TCP: inuse 4 orphan 0 tw 3 alloc 4 mem 196".
func (t tree) sockets() map[string]int64 {
	m := make(map[string]int64)
	for line := range strings.Lines(t.text("proc/net/sockstat")) {
		name, rest, _ := strings.Cut(line, ":")
		f := strings.Fields(rest)
		for i := 0; i+1 < len(f); i += 2 {
			if n, err := strconv.ParseInt(f[i+1], 10, 64); err == nil {
				m[name+"."+f[i]] = n
			}
		}
	}
	return m
}

// links reads the interfaces with a carrier.
func (t tree) links() []Link {
	d, err := os.Open(filepath.Join(string(t)+"/", "sys/class/net"))
	if err != nil {
		return nil
	}
	defer d.Close()
	entries, err := d.ReadDir(maxLinks)
	if err != nil {
		return nil
	}
	var list []Link
	for _, e := range entries {
		dir := "sys/class/net/" + e.Name()
		if e.Name() == "lo" || t.line(dir+"/operstate") != "up" {
			continue
		}
		mbit, _ := t.number(dir + "/speed")
		list = append(list, Link{e.Name(), max(mbit, 0)})
	}
	return list
}

// user parses /proc/self/status and the mapping of users.
func (t tree) user() User {
	u := User{ID: -1}
	for line := range strings.Lines(t.text("proc/self/status")) {
		name, rest, _ := strings.Cut(line, ":")
		f := strings.Fields(rest)
		switch {
		case name == "Uid" && len(f) > 1:
			if n, err := strconv.Atoi(f[1]); err == nil { // the effective one
				u.ID = n
			}
		case name == "CapEff" && len(f) == 1:
			u.Capabilities, _ = strconv.ParseUint(f[0], 16, 64)
		}
	}
	mapping := strings.Join(strings.Fields(t.line("proc/self/uid_map")), " ")
	u.Mapped = mapping != "" && mapping != "0 0 4294967295"
	return u
}

// cpu counts the processors that this process may use.
func (t tree) cpu() CPU {
	var c CPU
	for line := range strings.Lines(t.text("proc/self/status")) {
		if rest, ok := strings.CutPrefix(line, "Cpus_allowed_list:"); ok {
			c.Cores = length(rest)
		}
	}
	if c.Cores == 0 {
		c.Cores = length(t.line("sys/devices/system/cpu/online"))
	}
	p := resource.ReadProcessors(string(t))
	c.Quota, c.Group = p.Quota, p.QuotaOf
	return c
}

// length returns how many numbers are in a list like 0-3,8, or 0 if it is not a list.
func length(list string) (n int) {
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		low, high, ok := strings.Cut(part, "-")
		if !ok {
			high = low
		}
		from, errFrom := strconv.Atoi(low)
		to, errTo := strconv.Atoi(high)
		if errFrom != nil || errTo != nil || from < 0 || to < from || to > 1<<20 {
			return 0
		}
		n += to - from + 1
	}
	return n
}

// container returns the kind of container that the process runs in, as far as that can be detected.
func (t tree) container(env func(string) string) string {
	groups := t.text("proc/self/cgroup") + t.text("proc/1/cgroup")
	switch {
	case env("KUBERNETES_SERVICE_HOST") != "" || strings.Contains(groups, "kubepods"):
		return "kubernetes"
	case t.exists("run/.containerenv") || strings.Contains(groups, "libpod"):
		return "podman"
	case t.exists(".dockerenv") || strings.Contains(groups, "/docker"):
		return "docker"
	case strings.Contains(groups, "/lxc"):
		return "lxc"
	case env("container") != "": // the convention of systemd
		return "container"
	}
	return ""
}

// chosen returns the word in brackets of a line like "always [madvise] never".
func chosen(line string) string {
	_, rest, _ := strings.Cut(line, "[")
	word, _, _ := strings.Cut(rest, "]")
	return word
}

// goSettings returns the settings of the runtime of this process.
func goSettings() GoSettings {
	samples := []metrics.Sample{{Name: "/gc/gomemlimit:bytes"}, {Name: "/gc/gogc:percent"}}
	metrics.Read(samples)
	g := GoSettings{Processors: runtime.GOMAXPROCS(0), MemoryLimit: Unlimited, Percent: 100}
	if v := samples[0].Value; v.Kind() == metrics.KindUint64 {
		g.MemoryLimit = int64(min(v.Uint64(), Unlimited))
	}
	if v := samples[1].Value; v.Kind() == metrics.KindUint64 {
		g.Percent = int64(v.Uint64()) // off is the largest uint64, thus negative
	}
	return g
}
