package prometheus

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/sockeye-io/sockeye"
)

// row is a field of sockeye.Stats under a metric's name. Rows of one name differ in
// their label's value, and have the same help.
type row struct {
	field string // its path
	kind  prom.ValueType
	name  string // behind "sockeye_"
	help  string

	label, value string // the one label; "" for none
}

const (
	counter = prom.CounterValue
	gauge   = prom.GaugeValue
)

// rows are what is exported of sockeye.Stats. A field that is in neither of the two
// tables fails a test.
var rows = []row{
	// Connections.
	{field: "Net.Open", kind: gauge, name: "connections", help: "Open TCP connections."},
	{field: "Net.MaxConns", kind: gauge, name: "connections_max", help: "Config.MaxConns: further connections wait in the kernel."},
	{field: "Net.Accepted", kind: counter, name: "connections_accepted_total", help: "TCP connections accepted."},
	{field: "Net.AcceptErrors", kind: counter, name: "accept_errors_total", help: "Refusals of the kernel to accept: out of descriptors, mostly."},
	{field: "Net.Lent", kind: gauge, name: "connections_lent", help: "Connections that net/http serves at present."},
	{field: "Net.RefusedFallback", kind: counter, name: "fallback_refused_total", help: "Requests of other paths answered 503, Config.MaxFallback being there."},
	{field: "Net.RefusedByAddress", kind: counter, name: "address_refused_total", help: "Connections and handshakes refused by Config.PerAddress."},
	{field: "Net.Timeouts", kind: counter, name: "http_timeouts_total", help: "Requests that did not arrive in time, and answers that were not read in time."},
	{field: "Net.BadRequests", kind: counter, name: "http_bad_requests_total", help: "Requests that were not HTTP, or over a limit."},
	{field: "Net.BadFrames", kind: counter, name: "websocket_bad_frames_total", help: "WebSocket connections ended with 1002, 1007, 1008 or 1009."},
	{field: "Net.SlowConsumers", kind: counter, name: "slow_consumers_total", help: "Peers ended because they read too slowly.", label: "transport", value: "websocket"},
	{field: "Engine.SlowConsumers", kind: counter, name: "slow_consumers_total", help: "Peers ended because they read too slowly.", label: "transport", value: "polling"},
	{field: "Net.Floods", kind: counter, name: "floods_total", help: "Connections ended by a limit of messages in a second."},

	// Sessions.
	{field: "Engine.Sessions", kind: gauge, name: "sessions", help: "Open sessions."},
	{field: "Engine.Opened", kind: counter, name: "sessions_opened_total", help: "Sessions opened."},
	{field: "Engine.Upgraded", kind: counter, name: "sessions_upgraded_total", help: "Sessions that went from polling to WebSocket."},
	{field: "Engine.FailedUpgrades", kind: counter, name: "upgrades_failed_total", help: "WebSockets closed before their upgrade was complete."},
	{field: "Engine.Refused", kind: counter, name: "requests_refused_total", help: "Requests answered with an error of the protocol."},
	{field: "Engine.ForeignOrigins", kind: counter, name: "origins_refused_total", help: "Requests refused for their origin; requests_refused has them, too."},
	{field: "Engine.RefusedSessions", kind: counter, name: "sessions_refused_total", help: "Handshakes answered 503 or 429: there was no place."},
	{field: "Engine.PingTimeouts", kind: counter, name: "ping_timeouts_total", help: "Sessions whose peer did not answer a ping in time."},
	{field: "Engine.ParseErrors", kind: counter, name: "parse_errors_total", help: "Sessions whose peer sent what is no packet."},
	{field: "Engine.TransportErrors", kind: counter, name: "transport_errors_total", help: "Sessions whose connection failed, or whose peer broke the rules of its transport."},
	{field: "Engine.TooLarge", kind: counter, name: "messages_too_large_total", help: "Bodies and messages above Config.MaxPayload."},

	// Sockets and events.
	{field: "RefusedNamespaces", kind: counter, name: "connects_refused_total", help: "Connects to a namespace that were answered with an error."},
	{field: "ConnectTimeouts", kind: counter, name: "connect_timeouts_total", help: "Sessions ended because they joined no namespace in time."},
	{field: "ProtocolErrors", kind: counter, name: "protocol_errors_total", help: "Sessions ended because their peer broke the protocol."},
	{field: "EventsIn", kind: counter, name: "events_received_total", help: "Events given to handlers."},
	{field: "UnhandledEvents", kind: counter, name: "events_unhandled_total", help: "Events without a handler."},
	{field: "FilteredEvents", kind: counter, name: "events_filtered_total", help: "Events that middlewares have kept from their handlers."},
	{field: "IgnoredPackets", kind: counter, name: "packets_ignored_total", help: "Packets for a namespace that the peer has been taken out of, and answers that nobody waits for."},
	{field: "EmitTimeouts", kind: counter, name: "emit_timeouts_total", help: "Emits that ended with ErrQueueFull."},
	{field: "VolatileDropped", kind: counter, name: "volatile_dropped_total", help: "Volatile messages that were dropped."},

	// Handlers.
	{field: "HandlerPanics", kind: counter, name: "handler_panics_total", help: "Panics of handlers and hooks."},
	{field: "HandlerErrors", kind: counter, name: "handler_errors_total", help: "Errors that handlers have returned, those of decoding included."},
	{field: "DecodeErrors", kind: counter, name: "decode_errors_total", help: "Events whose arguments did not fit their handler."},
	{field: "Workers", kind: gauge, name: "workers", help: "Goroutines that run handlers."},
	{field: "ActiveSockets", kind: gauge, name: "sockets_active", help: "Sockets whose handlers have something to do."},
	{field: "PausedForMailbox", kind: counter, name: "mailbox_full_total", help: "Times that a session was not read because a mailbox was full."},

	// Memory.
	{field: "Net.MemoryBytes", kind: gauge, name: "memory_bytes", help: "What waits for peers, or has come from them, as it is charged to Config.MaxMemory."},
	{field: "Net.MaxMemory", kind: gauge, name: "memory_max_bytes", help: "Config.MaxMemory."},
	{field: "Net.Shed", kind: counter, name: "memory_shed_total", help: "Holders ended because Config.MaxMemory was spent."},

	// Loops.
	{field: "Net.Yields", kind: counter, name: "loop_yields_total", help: "Times that a connection had more to do than its share of a loop's turn."},

	// Faults.
	{field: "Net.CallbackPanics", kind: counter, name: "callback_panics_total", help: "Panics on a loop, and of Config.Fallback."},
	{field: "Engine.Panics", kind: counter, name: "config_panics_total", help: "Panics of functions of Config: Middleware, AllowRequest and others."},
}

// leftOut are the fields that are not exported, with the reason.
var leftOut = map[string]string{}

// reader finds a row's value in Stats.
type reader struct {
	row
	desc  *prom.Desc
	index []int
}

// read makes the row's metric.
func (r *reader) read(stats reflect.Value) prom.Metric {
	var value float64
	switch v := stats.FieldByIndex(r.index); {
	case v.Type() == reflect.TypeFor[time.Duration]():
		value = time.Duration(v.Int()).Seconds()
	case v.CanInt():
		value = float64(v.Int())
	default:
		value = float64(v.Uint())
	}
	if r.label == "" {
		return prom.MustNewConstMetric(r.desc, r.kind, value)
	}
	return prom.MustNewConstMetric(r.desc, r.kind, value, r.value)
}

// readers finds all rows' fields.
func readers(rows []row, constant prom.Labels) []reader {
	var list []reader
	descs := map[string]*prom.Desc{}
	for _, r := range rows {
		if descs[r.name] == nil {
			var labels []string
			if r.label != "" {
				labels = []string{r.label}
			}
			descs[r.name] = prom.NewDesc("sockeye_"+r.name, r.help, labels, constant)
		}
		list = append(list, reader{r, descs[r.name], indexOf(r.field)})
	}
	return list
}

// indexOf finds a field of Stats by its path.
func indexOf(path string) (index []int) {
	t := reflect.TypeFor[sockeye.Stats]()
	for name := range strings.SplitSeq(path, ".") {
		f, ok := t.FieldByName(name)
		if !ok {
			panic(fmt.Sprintf("prometheus: sockeye.Stats has no field %s", path))
		}
		index = append(index, f.Index...)
		t = f.Type
	}
	return index
}
