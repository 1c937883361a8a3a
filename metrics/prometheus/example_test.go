package prometheus_test

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net/http"
	"strings"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/client"
	"github.com/sockeye-io/sockeye/metrics/prometheus"
)

// A whole program: /metrics is beside /socket.io/, on the same port.
func Example() {
	reg := prom.NewRegistry()
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{}))

	srv, err := sockeye.New(sockeye.Config{Fallback: mux})
	if err != nil {
		log.Fatal(err)
	}
	m := prometheus.NewCollector(srv, prometheus.Options{})
	reg.MustRegister(m, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	srv.UseEvents(m.Events) // for each namespace whose handlers are to be measured
	srv.On("say", func(s *sockeye.Socket, text string) (string, error) {
		return "said", s.Broadcast().Emit("say", text)
	})
	addr, err := srv.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	defer srv.Close()

	// A peer, and a scrape.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := client.Dial(ctx, "http://"+addr.String(), client.Config{Transports: []string{"websocket"}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Call(ctx, "say", "hello"); err != nil {
		log.Fatal(err)
	}
	resp, err := http.Get("http://" + addr.String() + "/metrics")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		switch name, _, _ := strings.Cut(lines.Text(), " "); name {
		case `sockeye_sessions{transport="websocket"}`, "sockeye_events_received_total", `sockeye_handler_duration_seconds_count{event="say"}`:
			fmt.Println(lines.Text())
		}
	}
	// Output:
	// sockeye_events_received_total 1
	// sockeye_handler_duration_seconds_count{event="say"} 1
	// sockeye_sessions{transport="websocket"} 1
}
