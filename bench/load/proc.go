package main

import (
	"bytes"
	"os"
	"strconv"
)

// Linux counts the CPU time of processes in 1/100 s for programs to read,
// whatever the kernel's own ticks are.
const ticksPerSecond = 100

// processes are what is measured; a process that is gone counts as nothing.
type processes []int

// cpu is the user and system time of the processes, in seconds.
func (ps processes) cpu() float64 {
	sum := 0.0
	for _, p := range ps {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(p) + "/stat")
		sum += statCPU(b)
	}
	return sum
}

// memory is the proportional set size of the processes, in bytes.
func (ps processes) memory() float64 {
	sum := 0.0
	for _, p := range ps {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(p) + "/smaps_rollup")
		sum += kilobytes(b, "Pss:")
	}
	return sum
}

// slab is the memory of the kernel's own objects, in bytes: sockets, files and
// epoll items of both ends, and of everything else on the machine.
func slab() float64 {
	b, _ := os.ReadFile("/proc/meminfo")
	return kilobytes(b, "Slab:")
}

// statCPU is the user and system time of a /proc/<pid>/stat, in seconds. The
// command's name, in parentheses, may hold spaces and parentheses itself.
func statCPU(stat []byte) float64 {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0
	}
	user, _ := strconv.ParseFloat(string(fields[11]), 64)
	system, _ := strconv.ParseFloat(string(fields[12]), 64)
	return (user + system) / ticksPerSecond
}

// kilobytes is the value of a line "<name> <value> kB", in bytes.
func kilobytes(text []byte, name string) float64 {
	for line := range bytes.Lines(text) {
		if f := bytes.Fields(line); len(f) > 1 && string(f[0]) == name {
			v, _ := strconv.ParseFloat(string(f[1]), 64)
			return v * 1024
		}
	}
	return 0
}
