package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// What is assumed, and not measured.
const (
	connections  = 10e6
	pingInterval = 25.0  // seconds: the default
	lifetime     = 600.0 // seconds: of a connection
	roomSize     = 10.0  // each connection is in one such room, which somebody follows
	talk         = 60.0  // seconds between two messages of a connection
	loopCores    = 8.0   // of a server
	busLoad      = 0.5   // of a core that a bus should be used to
	linkEvery    = 10.0  // seconds between two words of a server to the others (forward.go)
	tcpBytes     = 40.0  // of a frame's heads, IP and TCP
	pingFrame    = 3.0   // bytes of "2" as a frame; the answer has four more, its mask
)

// servers are those that tables have.
var servers = []float64{10, 20, 40, 100}

type table struct{ name, text string }

func (c *costs) tables(n float64) []table {
	return []table{
		{"crowd", c.measured()},
		{"servers", c.servers(n)},
		{"work", c.work(n)},
		{"broadcast", c.broadcast(n)},
		{"rooms", c.rooms()},
		{"bus", c.buses(n)},
		{"between", c.between()},
	}
}

// rows makes a table of Markdown, whose first column is text.
func rows(head ...[]string) string {
	var b strings.Builder
	for i, r := range head {
		b.WriteString("| " + strings.Join(r, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|---|" + strings.Repeat("---:|", len(r)-1) + "\n")
		}
	}
	return b.String()
}

// measured is what the crowd has shown.
func (c *costs) measured() string {
	last := slices.Sorted(slices.Values(c.crowd.LastMs))
	return rows([][]string{
		{"of a connection, or of a delivery", "measured"},
		{"memory of an idle connection: the process", size(c.crowd.Memory)},
		{"… the kernel's objects, of the server's end", size(c.crowd.Kernel)},
		{"CPU of a connect", number(c.crowd.ConnectCPU) + " µs"},
		{"CPU of a ping and its pong", number(c.crowd.HeartbeatCPU) + " µs"},
		{"CPU of a delivery of a broadcast", number(c.crowd.BroadcastCPU) + " µs"},
		{"a broadcast: bytes to Redis", size(c.crowd.BroadcastIn)},
		{"… from Redis, to all five", size(c.crowd.BroadcastOut)},
		{fmt.Sprintf("… from Emit until the last of 90,000 has it: median of %d, and the slowest", len(last)), fmt.Sprintf("%s ms, %s ms", number(last[len(last)/2]), number(last[len(last)-1]))},
		{"a join of a followed room: bytes to Redis", size(c.crowd.PresenceIn)},
		{"nothing happening: bytes a second to Redis, of all five", size(c.crowd.IdleIn)},
	}...)
}

// servers is what one server holds, for so many of them.
func (c *costs) servers(n float64) string {
	t := [][]string{{"servers", "connections each", "descriptors", "memory of the process", "of the kernel's objects", "heartbeats a second", "cores for them", "… at 60 s", "core-seconds to take its connections again"}}
	for _, m := range servers {
		each := n / m
		t = append(t, []string{
			number(m), number(each), number(each + 1000), size(each * c.crowd.Memory), size(each * c.crowd.Kernel),
			number(each / pingInterval), number(each / pingInterval * c.crowd.HeartbeatCPU / 1e6), number(each / 60 * c.crowd.HeartbeatCPU / 1e6),
			number(each * c.crowd.ConnectCPU / 1e6),
		})
	}
	return rows(t...)
}

// work is what all connections together ask of all servers.
func (c *costs) work(n float64) string {
	t := [][]string{{"what", "a second", "CPU of one", "cores"}}
	total := 0.0
	for _, w := range []struct {
		what      string
		rate, cpu float64
	}{
		{"heartbeats, every 25 s", n / pingInterval, c.crowd.HeartbeatCPU},
		{"connects, every 10 min", n / lifetime, c.crowd.ConnectCPU},
		{"messages, one a minute of each connection, delivered to rooms of 10", n / talk * roomSize, c.crowd.BroadcastCPU},
		{"one broadcast a minute to all", n / talk, c.crowd.BroadcastCPU},
	} {
		cores := w.rate * w.cpu / 1e6
		total += cores
		t = append(t, []string{w.what, number(w.rate), number(w.cpu) + " µs", number(cores)})
	}
	t = append(t, []string{"together", "", "", number(total)}, []string{
		"bytes of heartbeats on the network, both ways, with TCP's heads", size(n / pingInterval * (2*pingFrame + 4 + 4*tcpBytes)), "", "",
	})
	return rows(t...)
}

// broadcast is one to all.
func (c *costs) broadcast(n float64) string {
	t := [][]string{{"servers", "bytes to Redis", "from Redis", "Redis's CPU", "CPU of a server", "until the last has it, 8 cores"}}
	for _, m := range servers {
		cpu := n / m * c.crowd.BroadcastCPU
		t = append(t, []string{
			number(m), size(c.crowd.BroadcastIn), size(c.crowd.BroadcastIn * m), number(c.message("Redis", m)) + " µs",
			number(cpu/1e6) + " s", number(cpu/1e6/loopCores) + " s",
		})
	}
	return rows(t...)
}

// rooms is a message to a room, which goes to the servers that have somebody of it.
func (c *costs) rooms() string {
	const m = 40
	t := [][]string{{"members of the room", "servers with one, of 40", "simulated: mean, most", "bytes from Redis", "messages a second of one Redis", "of one NATS core"}}
	r := rand.New(rand.NewPCG(1, 2))
	for _, members := range []int{1, 2, 10, 100, 1000} {
		k := serversWith(float64(members), m)
		mean, most := simulate(r, 20_000, members, m)
		t = append(t, []string{
			number(float64(members)), number(k), fmt.Sprintf("%s, %d", number(mean), most), size(c.crowd.BroadcastIn * k),
			thousands(busLoad * 1e6 / c.message("Redis", k)), thousands(busLoad * 1e6 / c.message("NATS", k)),
		})
	}
	return rows(t...)
}

// buses is what the messages of all connections ask of the bus.
func (c *costs) buses(n float64) string {
	t := [][]string{{"servers", "messages a second", "servers of a room of 10", "bytes from the bus a second", "Redis: cores", "shards, half used", "NATS: cores"}}
	for _, m := range servers {
		rate, k := n/talk, serversWith(roomSize, m)
		redis, nats := rate*c.message("Redis", k)/1e6, rate*c.message("NATS", k)/1e6
		t = append(t, []string{
			number(m), number(rate), number(k), size(rate * k * c.crowd.BroadcastIn), number(redis), fmt.Sprintf("%.0f", math.Ceil(redis/busLoad)), number(nats),
		})
	}
	return rows(t...)
}

// between is what servers tell each other while nothing happens, and presence.
func (c *costs) between() string {
	t := [][]string{{"servers", "bytes a second to the bus, nothing happening", "from the bus", "presence: bytes a join to the bus", "from it", "joins a second of one Redis"}}
	for _, m := range servers {
		idle := c.crowd.IdleIn / c.crowd.Processes * m
		t = append(t, []string{
			number(m), size(idle), size(idle * m), size(c.crowd.PresenceIn), size(c.crowd.PresenceIn * m),
			// One message of some 20 ms has all joins of a server in it; a core's half is
			// spent on 50 messages a second of each server, so what bounds joins is bytes.
			thousands(125e6 / (c.crowd.PresenceIn * m)),
		})
	}
	return rows(t...)
}

// number prints three digits or so, and thousands with commas.
func number(v float64) string {
	switch {
	case v == math.Trunc(v) && v < 1000:
		return fmt.Sprintf("%.0f", v)
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

// thousands is a number of two digits: no more is known of it.
func thousands(v float64) string {
	p := math.Pow(10, math.Floor(math.Log10(v))-1)
	return number(math.Round(v/p) * p)
}

// size is a number of bytes.
func size(v float64) string {
	for _, unit := range []string{"B", "kB", "MB"} {
		if v < 1000 {
			return fmt.Sprintf("%.3g %s", v, unit)
		}
		v /= 1000
	}
	return fmt.Sprintf("%.3g GB", v)
}
