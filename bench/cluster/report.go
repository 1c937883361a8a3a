//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
)

func median(vs []float64) float64 {
	if len(vs) == 0 {
		return 0
	}
	vs = slices.Sorted(slices.Values(vs))
	return (vs[(len(vs)-1)/2] + vs[len(vs)/2]) / 2
}

// number prints three digits or so, and thousands with commas.
func number(v float64) string {
	switch {
	case v < 10:
		return fmt.Sprintf("%.2f", v)
	case v < 100:
		return fmt.Sprintf("%.1f", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (res *busResults) table() string {
	var b strings.Builder
	b.WriteString("| bus, on one core | servers that get a message | messages a second | CPU of a message |\n|---|---:|---:|---:|\n")
	for _, r := range res.Rows {
		fmt.Fprintf(&b, "| %s | %d | %s | %s µs |\n", r.Bus, r.Subscribers, number(r.Rate), number(r.CPU))
	}
	return b.String()
}

func (res *crowdResults) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s idle connections in %d processes, one Redis | |\n|---|---:|\n", number(float64(res.Connections)), res.Processes)
	for _, row := range [][2]string{
		{"connecting all", number(res.ConnectSeconds) + " s"},
		{"CPU of a connection, while connecting", number(res.ConnectCPU) + " µs"},
		{"memory of a connection, the server's", number(res.Memory) + " B"},
		{"… the kernel's objects, one end's", number(res.Kernel) + " B"},
		{"… Redis's", number(max(0, res.RedisMemory)) + " B"},
		{"bytes on the bus for a connection, in and out", number(res.ConnectBus) + " B"},
		{"CPU of a ping and its pong", number(res.HeartbeatCPU) + " µs"},
		{"bytes a second on the bus while nothing happens, in and out", number(res.IdleIn+res.IdleOut) + " B"},
		{fmt.Sprintf("a broadcast of %d bytes to all: until the last has it, median of %d", res.Payload, len(res.LastMs)), number(median(res.LastMs)) + " ms"},
		{"… slowest", number(slices.Max(append([]float64{0}, res.LastMs...))) + " ms"},
		{"… CPU of a delivery", number(res.BroadcastCPU) + " µs"},
		{"… bytes to Redis", number(res.BroadcastIn) + " B"},
		{"… bytes from Redis, to all servers", number(res.BroadcastOut) + " B"},
		{fmt.Sprintf("presence: bytes to Redis for a socket that joins, of %d", res.PresenceJoined), number(res.PresenceIn) + " B"},
		{"… bytes from Redis, to all servers", number(res.PresenceOut) + " B"},
		{"… until that server knows all of them", number(res.PresenceSeconds*1000) + " ms"},
	} {
		fmt.Fprintf(&b, "| %s | %s |\n", row[0], row[1])
	}
	return b.String()
}
