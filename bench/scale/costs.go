package main

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
)

// costs are what has been measured.
type costs struct {
	crowd struct {
		ConnectCPU   float64   `json:"connect_cpu_us"`
		Memory       float64   `json:"bytes_per_connection"`
		Kernel       float64   `json:"kernel_bytes_per_connection"`
		HeartbeatCPU float64   `json:"heartbeat_cpu_us"`
		BroadcastCPU float64   `json:"broadcast_cpu_us"`
		BroadcastIn  float64   `json:"broadcast_bus_in_bytes"`
		BroadcastOut float64   `json:"broadcast_bus_out_bytes"`
		PresenceIn   float64   `json:"presence_bus_in_bytes"`
		IdleIn       float64   `json:"idle_bus_in_bytes_per_s"`
		Processes    float64   `json:"processes"`
		LastMs       []float64 `json:"broadcast_last_ms"`
	}
	bus map[string][]point // by its name
}

// point is the CPU time, in microseconds, of a message that goes to so many servers.
type point struct{ servers, cpu float64 }

func readCosts(dir string) (*costs, error) {
	c := &costs{bus: map[string][]point{}}
	var bus struct {
		Rows []struct {
			Bus         string
			Subscribers float64
			CPU         float64 `json:"cpu_us_per_message"`
		}
	}
	for name, v := range map[string]any{"crowd.json": &c.crowd, "bus.json": &bus} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			err = json.Unmarshal(b, v)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, r := range bus.Rows {
		c.bus[r.Bus] = append(c.bus[r.Bus], point{r.Subscribers, r.CPU})
	}
	if len(c.bus["Redis"]) < 2 || len(c.bus["NATS"]) < 2 || c.crowd.Memory <= 0 || c.crowd.HeartbeatCPU <= 0 || len(c.crowd.LastMs) == 0 {
		return nil, errors.New("figures are missing")
	}
	return c, nil
}

// message is the CPU time, in microseconds, that a message to so many servers takes on a
// bus: between two measured numbers of servers, or beyond them, on a straight line.
func (c *costs) message(bus string, servers float64) float64 {
	ps := c.bus[bus]
	i := slices.IndexFunc(ps, func(p point) bool { return p.servers >= servers })
	switch {
	case i < 0:
		i = len(ps) - 1
	case i == 0:
		i = 1
	}
	a, b := ps[i-1], ps[i]
	return a.cpu + (b.cpu-a.cpu)*(servers-a.servers)/(b.servers-a.servers)
}

// serversWith is on how many of so many servers a room of a size is expected to have
// somebody, if a balancer gives connections to any of them.
func serversWith(size, servers float64) float64 {
	return servers * (1 - math.Pow(1-1/servers, size))
}
