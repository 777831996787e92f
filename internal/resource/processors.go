package resource

import (
	"fmt"
	"math"
	"path"
	"runtime"
	"strconv"
	"strings"
)

// Processors is how many processors this process may use.
type Processors struct {
	// Cores is the number of cores that the process may run on.
	Cores int
	// Quota is the lowest CPU quota of its cgroups, in cores. 0 is no quota.
	Quota float64
	// QuotaOf is the path of the cgroup with that quota.
	QuotaOf string
}

// ReadProcessors reads the CPU quotas of the cgroups whose files are in the directory root, as ReadMemory does. Cores
// always describes this process. It is safe for concurrent use.
func ReadProcessors(root string) Processors {
	p, t := Processors{Cores: runtime.NumCPU()}, tree(root)
	t.walk("cpu", func(m mount, dir string) {
		if q := t.quota(m, dir); q > 0 && (p.Quota == 0 || q < p.Quota) {
			p.Quota, p.QuotaOf = q, dir
		}
	})
	return p
}

// Busy returns how many processors this process can keep busy: its cores, or its quota rounded up if that is less. It
// is at least 1.
func (p Processors) Busy() int {
	n := max(p.Cores, 1)
	if p.Quota > 0 && p.Quota < float64(n) {
		n = int(math.Ceil(p.Quota))
	}
	return n
}

// String describes what determines Busy: the number of cores, or the quota and its cgroup.
func (p Processors) String() string {
	if p.Quota > 0 && p.Quota < float64(max(p.Cores, 1)) {
		return fmt.Sprintf("a CPU quota of %s, of cgroup %s", strconv.FormatFloat(p.Quota, 'g', 3, 64), p.QuotaOf)
	}
	if p.Cores == 1 {
		return "1 core"
	}
	return fmt.Sprintf("%d cores", p.Cores)
}

// quota returns the CPU quota of a cgroup in cores. 0 is no quota.
func (t tree) quota(m mount, dir string) float64 {
	at := path.Join(m.point, dir)
	if m.version == v1 {
		return ratio(t.text(path.Join(at, "cpu.cfs_quota_us")), t.text(path.Join(at, "cpu.cfs_period_us")))
	}
	quota, period, _ := strings.Cut(t.text(path.Join(at, "cpu.max")), " ") // "max 100000", or "150000 100000"
	return ratio(quota, period)
}

// ratio returns quota divided by period. It returns 0 if there is no quota ("max", or -1 in version 1), or if one of
// them is not a number.
func ratio(quota, period string) float64 {
	q, errQ := strconv.ParseFloat(strings.TrimSpace(quota), 64)
	p, errP := strconv.ParseFloat(strings.TrimSpace(period), 64)
	if errQ != nil || errP != nil || !(q > 0) || !(p > 0) || math.IsInf(q, 0) {
		return 0
	}
	return q / p
}
