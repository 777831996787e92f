package resource

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

// TestReadProcessors: the lowest quota of all cgroups of both versions counts, and a value that is not a quota is
// ignored.
func TestReadProcessors(t *testing.T) {
	const v2 = "30 22 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
	const old = "31 22 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n" +
		"32 22 0:29 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
	for _, tt := range []struct {
		name    string
		cgroups string // of /proc/self/cgroup
		mounts  string // of /proc/self/mountinfo
		files   map[string]string
		quota   float64
		of      string
	}{
		{"no quota", "0::/app\n", v2, map[string]string{"app/cpu.max": "max 100000\n"}, 0, ""},
		{"version 2", "0::/app\n", v2, map[string]string{"app/cpu.max": "150000 100000\n"}, 1.5, "/app"},
		{"the outer cgroup", "0::/a/b\n", v2, map[string]string{
			"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "400000 100000\n",
		}, 1, "/a"},
		{"version 1", "4:cpu,cpuacct:/x\n3:cpuset:/y\n", old, map[string]string{
			"cpu,cpuacct/x/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
			"cpuset/y/cpu.cfs_quota_us": "1\n", "cpuset/y/cpu.cfs_period_us": "100000\n",
		}, 0.5, "/x"},
		{"no quota in version 1", "4:cpu,cpuacct:/x\n", old, map[string]string{
			"cpu,cpuacct/x/cpu.cfs_quota_us": "-1\n", "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
		}, 0, ""},
		{"both versions", "4:cpu,cpuacct:/x\n0::/app\n", old + v2, map[string]string{
			"cpu,cpuacct/x/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/x/cpu.cfs_period_us": "100000\n",
			"app/cpu.max": "250000 100000\n",
		}, 2.5, "/app"},
		{"nonsense", "0::/app\n", v2, map[string]string{"app/cpu.max": "NaN Inf\n"}, 0, ""},
	} {
		root := t.TempDir()
		files := map[string]string{"proc/self/cgroup": tt.cgroups, "proc/self/mountinfo": tt.mounts}
		for name, text := range tt.files {
			files["sys/fs/cgroup/"+name] = text
		}
		for name, text := range files {
			path := filepath.Join(root, filepath.FromSlash(name))
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := ReadProcessors(root); got.Quota != tt.quota || got.QuotaOf != tt.of || got.Cores != runtime.NumCPU() {
			t.Errorf("%s: got %+v, want a quota of %g of %q", tt.name, got, tt.quota, tt.of)
		}
	}
}

// TestBusy: a fraction of a core counts as one core, and there is at least one.
func TestBusy(t *testing.T) {
	for _, tt := range []struct {
		p    Processors
		want int
		text string
	}{
		{Processors{Cores: 8}, 8, "8 cores"},
		{Processors{Cores: 1}, 1, "1 core"},
		{Processors{}, 1, "0 cores"},
		{Processors{Cores: 8, Quota: 0.2, QuotaOf: "/app"}, 1, "a CPU quota of 0.2, of cgroup /app"},
		{Processors{Cores: 8, Quota: 1.5, QuotaOf: "/"}, 2, "a CPU quota of 1.5, of cgroup /"},
		{Processors{Cores: 8, Quota: 3}, 3, "a CPU quota of 3, of cgroup "},
		{Processors{Cores: 2, Quota: 3}, 2, "2 cores"},
		{Processors{Cores: 4, Quota: 4}, 4, "4 cores"},
	} {
		if got := tt.p.Busy(); got != tt.want || tt.p.String() != tt.text {
			t.Errorf("%+v: got %d, %q, want %d, %q", tt.p, got, tt.p, tt.want, tt.text)
		}
	}
}
