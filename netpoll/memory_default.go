package netpoll

import (
	"io/fs"
	"math"
	"os"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
)

// unknownMemory is what a machine is taken to have that does not tell.
const unknownMemory = 1 << 30

// defaultMaxMemory is half of what the process may use, in bytes: the smallest
// of GOMEMLIMIT, the limit of its control groups, and the machine's memory.
func defaultMaxMemory() int64 {
	machine := systemMemory()
	if machine <= 0 {
		machine = unknownMemory
	}
	return min(debug.SetMemoryLimit(-1), cgroupMemory(rootFS), machine) / 2
}

var rootFS = os.DirFS("/")

// cgroupMemory is the smallest memory limit of the process's control groups and
// all above them, math.MaxInt64 if there is none. Both versions are looked at
// where they are usually mounted.
func cgroupMemory(root fs.FS) int64 {
	limit := int64(math.MaxInt64)
	b, err := fs.ReadFile(root, "proc/self/cgroup")
	if err != nil {
		return limit
	}
	for line := range strings.Lines(string(b)) {
		// hierarchy-ID:controller,controller:path
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		switch {
		case len(f) < 3:
		case f[0] == "0" && f[1] == "": // version 2
			limit = min(limit, lowestLimit(root, "sys/fs/cgroup", f[2], "memory.max"),
				lowestLimit(root, "sys/fs/cgroup/unified", f[2], "memory.max"))
		case strings.Contains(","+f[1]+",", ",memory,"):
			limit = min(limit, lowestLimit(root, "sys/fs/cgroup/memory", f[2], "memory.limit_in_bytes"))
		}
	}
	return limit
}

// lowestLimit reads the file called name of a group and of all above it. A
// container sees its own group at the mount, under whatever path the host has
// it.
func lowestLimit(root fs.FS, mount, group, name string) int64 {
	limit := int64(math.MaxInt64)
	for group = path.Clean("/" + group); ; group = path.Dir(group) {
		if b, err := fs.ReadFile(root, path.Join(mount, group, name)); err == nil {
			// Not a number: "max". 0 would leave nothing to run in: no limit.
			if v, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64); err == nil && v > 0 {
				limit = min(limit, v)
			}
		}
		if group == "/" {
			return limit
		}
	}
}
