package netpoll

import (
	"bufio"
	"io/fs"
	"math"
	"strconv"
	"strings"
)

// systemMemory is the machine's memory in bytes; 0: unknown.
func systemMemory() int64 { return linuxMemory(rootFS) }

// linuxMemory reads MemTotal of /proc/meminfo; 0 if it is not there.
func linuxMemory(root fs.FS) int64 {
	f, err := root.Open("proc/meminfo")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if v, ok := strings.CutPrefix(s.Text(), "MemTotal:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(v), " kB"), 10, 64)
			if err != nil || kb <= 0 || kb > math.MaxInt64>>10 {
				return 0
			}
			return kb << 10
		}
	}
	return 0
}
