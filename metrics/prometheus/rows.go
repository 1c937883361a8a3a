package prometheus

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/sockeye-io/sockeye"
)

// row is a field of sockeye.Stats under a metric's name. Rows of one name differ in
// their label's value, and have the same help.
type row struct {
	field string // its path; one through a slice has a value for each element
	kind  prom.ValueType
	name  string // behind "sockeye_"
	help  string

	label string // the one label; "" for none
	value string // the label's; "" for a map's keys, and a slice's indices
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
	{field: "Net.ConnLimit", kind: gauge, name: "connections_limit", help: "Config.MaxConns: further connections wait in the kernel."},
	{field: "Net.Accepted", kind: counter, name: "connections_accepted_total", help: "TCP connections accepted."},
	{field: "Net.AcceptErrors", kind: counter, name: "accept_errors_total", help: "Refusals of the kernel to accept: out of descriptors, mostly."},
	{field: "Net.Lent", kind: gauge, name: "connections_lent", help: "Connections that net/http serves at present."},
	{field: "Net.Bridged", kind: gauge, name: "connections_bridged", help: "Connections that are not on the loops' poller but have goroutines: TLS of net/http, HTTP/2, foreign listeners."},
	{field: "Net.Mounted", kind: counter, name: "connections_mounted_total", help: "Connections that have come from an http.Server in which the server is mounted."},
	{field: "Net.Forwarded", kind: counter, name: "forwarded_total", help: "Requests passed on to the server that has their session, those of WebSockets included."},
	{field: "Net.ForwardFailures", kind: counter, name: "forward_failures_total", help: "Requests that could not be passed on, or whose answer did not come whole."},
	{field: "Net.ForwardedSockets", kind: gauge, name: "forwarded_websockets", help: "WebSockets that are passed on to the server that has their session."},
	{field: "Net.Links", kind: gauge, name: "links", help: "Connections to other servers of the cluster, for what is passed on."},
	{field: "Net.BadLinks", kind: counter, name: "links_refused_total", help: "Connections of Config.Forward's listener that were none of another server's."},
	{field: "Net.BadProxyHeaders", kind: counter, name: "proxy_bad_headers_total", help: "Connections of Config.ProxyProtocol's networks that did not begin with its header."},
	{field: "Net.RefusedFallback", kind: counter, name: "fallback_refused_total", help: "Requests of other paths answered 503, Config.MaxFallback being there."},
	{field: "Net.RefusedByAddress", kind: counter, name: "address_refused_total", help: "Connections and handshakes refused by Config.PerAddress."},
	{field: "Net.Timeouts", kind: counter, name: "http_timeouts_total", help: "Requests that did not arrive in time, and answers that were not read in time."},
	{field: "Net.BadRequests", kind: counter, name: "http_bad_requests_total", help: "Requests that were not HTTP, or over a limit."},
	{field: "Net.BadFrames", kind: counter, name: "websocket_bad_frames_total", help: "WebSocket connections ended with 1002, 1007, 1008 or 1009."},
	{field: "Net.SlowConsumers", kind: counter, name: "slow_consumers_total", help: "Peers ended because they read too slowly.", label: "transport", value: "websocket"},
	{field: "Engine.SlowConsumers", kind: counter, name: "slow_consumers_total", help: "Peers ended because they read too slowly.", label: "transport", value: "polling"},
	{field: "Net.Floods", kind: counter, name: "floods_total", help: "Connections ended by a limit of messages in a second."},
	{field: "Net.TLSHandshakes", kind: counter, name: "tls_handshakes_total", help: "TLS handshakes made."},
	{field: "Net.TLSKept", kind: counter, name: "tls_kept_total", help: "TLS connections that keep more than the others: of TLS 1.2, and with Config.PlainTLS."},
	{field: "Net.TLSFaults", kind: counter, name: "tls_faults_total", help: "Connections ended because their peer broke TLS, or no handshake could be agreed on."},
	{field: "Net.TLSWaits", kind: counter, name: "tls_handshakes_delayed_total", help: "TLS handshakes for which no place was free when they came."},

	// Sessions.
	{field: "Engine.PollingSessions", kind: gauge, name: "sessions", help: "Open sessions, by transport.", label: "transport", value: "polling"},
	{field: "Engine.WebSocketSessions", kind: gauge, name: "sessions", help: "Open sessions, by transport.", label: "transport", value: "websocket"},
	{field: "Engine.Opened", kind: counter, name: "sessions_opened_total", help: "Sessions opened."},
	{field: "Engine.Upgraded", kind: counter, name: "sessions_upgraded_total", help: "Sessions that went from polling to WebSocket."},
	{field: "Engine.FailedUpgrades", kind: counter, name: "upgrades_failed_total", help: "WebSockets closed before their upgrade was complete."},
	{field: "Engine.RefusedBy", kind: counter, name: "refusals_total", help: "Requests and handshakes refused, by reason.", label: "reason"},
	{field: "Engine.Deciding", kind: gauge, name: "handshakes_deciding", help: "Handshakes that are in Config.Middleware or AllowRequest."},
	{field: "Engine.PingTimeouts", kind: counter, name: "ping_timeouts_total", help: "Sessions whose peer did not answer a ping in time."},
	{field: "Engine.ParseErrors", kind: counter, name: "parse_errors_total", help: "Sessions whose peer sent what is no packet."},
	{field: "Engine.TransportErrors", kind: counter, name: "transport_errors_total", help: "Sessions whose connection failed, or whose peer broke the rules of its transport."},
	{field: "Engine.TooLarge", kind: counter, name: "messages_too_large_total", help: "Bodies and messages above Config.MaxPayload."},

	// Sockets.
	{field: "Connects", kind: counter, name: "connects_total", help: "Sockets let in."},
	{field: "RefusedNamespacesBy", kind: counter, name: "connects_refused_total", help: "Connects to a namespace that were answered with an error, by reason.", label: "reason"},
	{field: "DisconnectedBy", kind: counter, name: "disconnects_total", help: "Sockets that have gone, by reason.", label: "reason"},
	{field: "DisconnectedFor", kind: counter, name: "disconnect_causes_total", help: "Sockets that have gone, by cause: more closely than the reason that the protocol has.", label: "cause"},
	{field: "ConnectTimeouts", kind: counter, name: "connect_timeouts_total", help: "Sessions ended because they joined no namespace in time."},
	{field: "ProtocolErrors", kind: counter, name: "protocol_errors_total", help: "Sessions ended because their peer broke the protocol."},

	// Traffic.
	{field: "Net.BytesIn", kind: counter, name: "received_bytes_total", help: "Bytes received, but those of connections at net/http."},
	{field: "Net.BytesOut", kind: counter, name: "sent_bytes_total", help: "Bytes sent, but those of connections at net/http."},
	{field: "Engine.PacketsIn", kind: counter, name: "packets_received_total", help: "Packets of Engine.IO received."},
	{field: "Engine.PacketsOut", kind: counter, name: "packets_sent_total", help: "Packets of Engine.IO sent."},
	{field: "EventsIn", kind: counter, name: "events_received_total", help: "Events given to handlers."},
	{field: "EventsOut", kind: counter, name: "events_sent_total", help: "Events emitted to one socket."},
	{field: "AcksIn", kind: counter, name: "acks_received_total", help: "Answers of peers that somebody has waited for."},
	{field: "AcksOut", kind: counter, name: "acks_sent_total", help: "Answers to peers."},
	{field: "Broadcasts", kind: counter, name: "broadcasts_total", help: "Events emitted to several sockets."},
	{field: "Deliveries", kind: counter, name: "deliveries_total", help: "Broadcasts to each socket that was addressed."},
	{field: "VolatileDropped", kind: counter, name: "volatile_dropped_total", help: "Volatile messages that were dropped."},
	{field: "UnhandledEvents", kind: counter, name: "events_unhandled_total", help: "Events without a handler."},
	{field: "FilteredEvents", kind: counter, name: "events_filtered_total", help: "Events that middlewares have kept from their handlers."},
	{field: "IgnoredPackets", kind: counter, name: "packets_ignored_total", help: "Packets for a namespace that the peer has been taken out of, and answers that nobody waits for."},

	// Queues.
	{field: "Engine.QueuedBytes", kind: gauge, name: "queued_bytes", help: "Memory of what waits for peers in their sessions' queues."},
	{field: "Engine.FullSessions", kind: gauge, name: "sessions_full", help: "Sessions of which more than Config.MaxQueuedBytes wait."},
	{field: "EmitTimeouts", kind: counter, name: "emit_timeouts_total", help: "Emits that ended with ErrQueueFull."},
	{field: "PausedForMailbox", kind: counter, name: "mailbox_full_total", help: "Times that a session was not read because a mailbox was full."},

	// Handlers.
	{field: "HandlerPanics", kind: counter, name: "handler_panics_total", help: "Panics of handlers and hooks."},
	{field: "HandlerErrors", kind: counter, name: "handler_errors_total", help: "Errors that handlers have returned, those of decoding included."},
	{field: "DecodeErrors", kind: counter, name: "decode_errors_total", help: "Events whose arguments did not fit their handler."},
	{field: "Workers", kind: gauge, name: "workers", help: "Goroutines that run handlers."},
	{field: "ActiveSockets", kind: gauge, name: "sockets_active", help: "Sockets whose handlers have something to do."},

	// Memory.
	{field: "Net.MemoryBytes", kind: gauge, name: "memory_bytes", help: "What waits for peers, or has come from them, as it is charged to Config.MaxMemory."},
	{field: "Net.MemoryLimit", kind: gauge, name: "memory_limit_bytes", help: "Config.MaxMemory."},
	{field: "Net.Shed", kind: counter, name: "memory_shed_total", help: "Holders ended because Config.MaxMemory was spent."},

	// Loops.
	{field: "Net.Loops.Conns", kind: gauge, name: "loop_connections", help: "Connections of a loop.", label: "loop"},
	{field: "Net.Loops.Posted", kind: gauge, name: "loop_posted_jobs", help: "Jobs that wait for a loop.", label: "loop"},
	{field: "Net.Loops.Batches", kind: counter, name: "loop_batches_total", help: "Times that a loop has had something to do.", label: "loop"},
	{field: "Net.Loops.Lag", kind: gauge, name: "loop_lag_seconds", help: "The longest that something has waited for a loop in the last 30 to 60 s.", label: "loop"},
	{field: "Net.Loops.Busy", kind: gauge, name: "loop_busy_seconds", help: "How long what a loop does now has taken.", label: "loop"},
	{field: "Net.Yields", kind: counter, name: "loop_yields_total", help: "Times that a connection had more to do than its share of a loop's turn."},

	// The cluster.
	{field: "Cluster.Sent", kind: counter, name: "cluster_sent_total", help: "Messages for other servers that the bus has taken."},
	{field: "Cluster.SentBytes", kind: counter, name: "cluster_sent_bytes_total", help: "Bytes of messages for other servers."},
	{field: "Cluster.Received", kind: counter, name: "cluster_received_total", help: "Messages of other servers."},
	{field: "Cluster.ReceivedBytes", kind: counter, name: "cluster_received_bytes_total", help: "Bytes of messages of other servers."},
	{field: "Cluster.Lost", kind: counter, name: "cluster_lost_total", help: "Messages for other servers that the bus has not taken, or perhaps."},
	{field: "Cluster.Refused", kind: counter, name: "cluster_refused_total", help: "Calls that ended with ErrUnavailable."},
	{field: "Cluster.Ignored", kind: counter, name: "cluster_ignored_total", help: "Messages that came by the bus and could not be read."},
	{field: "Cluster.Late", kind: counter, name: "cluster_late_total", help: "Questions to other servers that were not all answered in time."},
	{field: "Cluster.Queued", kind: gauge, name: "cluster_queued_bytes", help: "Bytes that wait for the bus."},
	{field: "Cluster.Down", kind: gauge, name: "cluster_down", help: "1 while the bus cannot be reached."},

	// Faults.
	{field: "Net.CallbackPanics", kind: counter, name: "callback_panics_total", help: "Panics on a loop, and of Config.Fallback."},
	{field: "Engine.Panics", kind: counter, name: "config_panics_total", help: "Panics of functions of Config: Middleware, AllowRequest and others."},
}

// leftOut are the fields that are not exported, with the reason.
var leftOut = map[string]string{
	"Engine.Sessions":        "the sum of sessions",
	"Engine.Refused":         "in refusals_total",
	"Engine.RefusedSessions": "in refusals_total",
	"Engine.ForeignOrigins":  "in refusals_total",
	"RefusedNamespaces":      "the sum of connects_refused_total",
	"Net.Loops.BytesIn":      "received_bytes_total is the sum; of each loop it tells nothing to act on",
	"Net.Loops.BytesOut":     "as BytesIn",
	"Net.Loops.MaxLag":       "max_over_time of loop_lag_seconds is the same, for the time that one asks for",
}

// reader finds a row's value in Stats.
type reader struct {
	row
	desc  *prom.Desc
	index []int // of the field, or of the slice
	of    []int // in the slice's elements
}

// read sends the row's metrics.
func (r *reader) read(stats reflect.Value, ch chan<- prom.Metric) {
	v := stats.FieldByIndex(r.index)
	switch {
	case v.Kind() == reflect.Map:
		for it := v.MapRange(); it.Next(); {
			r.send(ch, number(it.Value()), it.Key().String())
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			r.send(ch, number(v.Index(i).FieldByIndex(r.of)), strconv.Itoa(i))
		}
	case r.label != "":
		r.send(ch, number(v), r.value)
	default:
		r.send(ch, number(v))
	}
}

func (r *reader) send(ch chan<- prom.Metric, value float64, label ...string) {
	ch <- prom.MustNewConstMetric(r.desc, r.kind, value, label...)
}

// number is a field's value: in seconds, if it is a time; 1 for true.
func number(v reflect.Value) float64 {
	switch {
	case v.Kind() == reflect.Bool:
		if v.Bool() {
			return 1
		}
		return 0
	case v.Type() == reflect.TypeFor[time.Duration]():
		return time.Duration(v.Int()).Seconds()
	case v.CanInt():
		return float64(v.Int())
	}
	return float64(v.Uint())
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
		index, of := indexOf(r.field)
		list = append(list, reader{r, descs[r.name], index, of})
	}
	return list
}

// indexOf finds a field of Stats by its path: of is what is behind a slice.
func indexOf(path string) (index, of []int) {
	t := reflect.TypeFor[sockeye.Stats]()
	into := &index
	for name := range strings.SplitSeq(path, ".") {
		if t.Kind() == reflect.Slice {
			t, into = t.Elem(), &of
		}
		f, ok := t.FieldByName(name)
		if !ok {
			panic(fmt.Sprintf("prometheus: sockeye.Stats has no field %s", path))
		}
		*into = append(*into, f.Index...)
		t = f.Type
	}
	return index, of
}
