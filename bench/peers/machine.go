package main

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// machine is what the figures were taken on.
type machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Kernel string `json:"kernel"`
}

func describeMachine() machine {
	return machine{
		CPU:    field("/proc/cpuinfo", "model name"),
		Cores:  runtime.NumCPU(),
		Memory: field("/proc/meminfo", "MemTotal"),
		Kernel: kernel(),
	}
}

func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s of memory, %s", m.CPU, m.Cores, m.Memory, m.Kernel)
}

func kernel() string {
	b, _ := os.ReadFile("/proc/sys/kernel/osrelease")
	release, _, _ := strings.Cut(strings.TrimSpace(string(b)), "-")
	return "Linux " + release
}

// field is the value of the first line "name: value" of a file, or "?".
func field(file, name string) string {
	b, _ := os.ReadFile(file)
	for line := range bytes.Lines(b) {
		key, value, ok := bytes.Cut(line, []byte(":"))
		if ok && string(bytes.TrimSpace(key)) == name {
			return string(bytes.TrimSpace(value))
		}
	}
	return "?"
}
