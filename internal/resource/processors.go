package resource

import (
	"fmt"
	"math"
	"path"
	"runtime"
	"strconv"
	"strings"
)

// Processors is how many of the machine's processors this process may use.
type Processors struct {
	// Cores is the number that it may run on.
	Cores int
	// Quota is the smallest CPU quota of its groups, in cores; 0 is no bound. QuotaOf is the path of that group.
	Quota   float64
	QuotaOf string
}

// ReadProcessors reads the groups below root, as ReadMemory does. Cores are always those of this process.
func ReadProcessors(root string) Processors {
	p := Processors{Cores: runtime.NumCPU()}
	tree(root).walk("cpu", func(m mount, dir string) {
		if q := tree(root).quota(m, dir); q > 0 && (p.Quota == 0 || q < p.Quota) {
			p.Quota, p.QuotaOf = q, dir
		}
	})
	return p
}

// Busy returns how many processors can be busy all the time: at least one. A fraction counts as one.
func (p Processors) Busy() int {
	n := max(p.Cores, 1)
	if p.Quota > 0 && p.Quota < float64(n) {
		n = int(math.Ceil(p.Quota))
	}
	return n
}

// String tells where Busy comes from.
func (p Processors) String() string {
	if p.Quota > 0 && p.Quota < float64(max(p.Cores, 1)) {
		return fmt.Sprintf("a CPU quota of %s, of cgroup %s", strconv.FormatFloat(p.Quota, 'g', 3, 64), p.QuotaOf)
	}
	if p.Cores == 1 {
		return "1 core"
	}
	return fmt.Sprintf("%d cores", p.Cores)
}

// quota returns the CPU quota of a group, in cores; 0 is no bound.
func (t tree) quota(m mount, dir string) float64 {
	at := path.Join(m.point, dir)
	if m.version == v1 {
		return ratio(t.text(path.Join(at, "cpu.cfs_quota_us")), t.text(path.Join(at, "cpu.cfs_period_us")))
	}
	quota, period, _ := strings.Cut(t.text(path.Join(at, "cpu.max")), " ") // "max 100000", or "150000 100000"
	return ratio(quota, period)
}

// ratio returns quota by period; 0 if there is no quota.
func ratio(quota, period string) float64 {
	q, errQ := strconv.ParseFloat(strings.TrimSpace(quota), 64)
	p, errP := strconv.ParseFloat(strings.TrimSpace(period), 64)
	if errQ != nil || errP != nil || !(q > 0) || !(p > 0) || math.IsInf(q, 0) {
		return 0
	}
	return q / p
}
