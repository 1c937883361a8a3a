package netpoll

import (
	"math"
	"runtime/debug"
	"testing"
	"testing/fstest"
)

func files(m map[string]string) fstest.MapFS {
	root := fstest.MapFS{}
	for name, text := range m {
		root[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return root
}

func TestCgroupMemory(t *testing.T) {
	const none = math.MaxInt64
	for name, c := range map[string]struct {
		files map[string]string
		want  int64
	}{
		"no cgroups": {nil, none},
		"v2, own": {map[string]string{
			"proc/self/cgroup": "0::/system.slice/a.service\n", "sys/fs/cgroup/system.slice/a.service/memory.max": "1000\n",
		}, 1000},
		"v2, the parent's is lower": {map[string]string{
			"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/memory.max": "1000\n", "sys/fs/cgroup/a/memory.max": "500\n",
		}, 500},
		"v2, the parent's is higher": {map[string]string{
			"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/b/memory.max": "1000\n", "sys/fs/cgroup/a/memory.max": "5000\n",
		}, 1000},
		"v2, max": {map[string]string{"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n"}, none},
		"v2, max below a limit": {map[string]string{
			"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "7\n",
		}, 7},
		"v2, a container's own root": {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "2000\n"}, 2000},
		"v2, outside of the namespace": {map[string]string{
			"proc/self/cgroup": "0::/../../other\n", "sys/fs/cgroup/memory.max": "2000\n", "other/memory.max": "1\n",
		}, 2000},
		"v2, a path with a colon": {map[string]string{
			"proc/self/cgroup": "0::/a:b\n", "sys/fs/cgroup/a:b/memory.max": "3000\n",
		}, 3000},
		"v1": {map[string]string{
			"proc/self/cgroup": "12:cpu,cpuacct:/x\n5:memory:/docker/abc\n", "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "4000\n",
		}, 4000},
		"v1, under the host's path": {map[string]string{
			"proc/self/cgroup": "5:hugetlb,memory:/docker/abc\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "4000\n",
		}, 4000},
		"v1, no limit": {map[string]string{
			"proc/self/cgroup": "5:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
		}, 9223372036854771712},
		"v1 and v2": {map[string]string{
			"proc/self/cgroup": "5:memory:/a\n0::/b\n",
			"sys/fs/cgroup/memory/a/memory.limit_in_bytes": "4000\n", "sys/fs/cgroup/unified/b/memory.max": "3000\n",
		}, 3000},
		"another controller": {map[string]string{
			"proc/self/cgroup": "5:memoryx:/a\n", "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "4000\n",
		}, none},
		"nonsense": {map[string]string{
			"proc/self/cgroup": "\n:\n0::\n0::a\n", "sys/fs/cgroup/a/memory.max": "-1\n", "sys/fs/cgroup/memory.max": "0",
		}, none},
	} {
		if got := cgroupMemory(files(c.files)); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestLinuxMemory(t *testing.T) {
	for text, want := range map[string]int64{
		"MemTotal:       24576000 kB\nMemFree:  1 kB\n": 24576000 << 10,
		"MemFree:  1 kB\nMemTotal: 5 kB":                5 << 10,
		"MemTotal: many kB\n":                           0,
		"MemTotal: -5 kB\n":                             0,
		"MemTotal: 9223372036854775807 kB\n":            0,
		"":                                              0,
		"MemFree:  1 kB\n":                              0,
		"MemTotal: 9007199254740991 kB\nMemTotal: 1 kB": 9007199254740991 << 10,
	} {
		if got := linuxMemory(files(map[string]string{"proc/meminfo": text})); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
	if got := linuxMemory(files(nil)); got != 0 {
		t.Errorf("without the file: %d", got)
	}
}

// TestDefaultMaxMemory asks this machine.
func TestDefaultMaxMemory(t *testing.T) {
	before := debug.SetMemoryLimit(math.MaxInt64)
	defer debug.SetMemoryLimit(before)
	machine := linuxMemory(rootFS)
	if got := defaultMaxMemory(); got < 16<<20 || machine > 0 && got > machine/2 {
		t.Errorf("%d of the machine's %d", got, machine)
	}
	debug.SetMemoryLimit(200 << 20)
	if got := defaultMaxMemory(); got > 100<<20 {
		t.Errorf("%d with GOMEMLIMIT=200MiB", got)
	}
}
