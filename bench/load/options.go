package main

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the flags of the command.
type options struct {
	addrs     []netip.AddrPort
	path      string
	mode      string
	polling   bool
	n         int
	payload   int
	window    int
	perSecond float64
	active    int
	dialing   int
	measured  time.Duration
	warm      time.Duration
	settle    time.Duration
	quiet     time.Duration
	pids      []int
	json      bool
	label     string
}

var modes = []string{"idle", "bcast", "echo", "churn", "storm", "listen"}

// parseOptions reads the flags and refuses what cannot be run.
func parseOptions(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("load", flag.ContinueOnError)
	addrs := f.String("addr", "127.0.0.1:3000", "`addresses` of the servers, comma separated, among which the connections are dealt out: IPv4, loopback")
	transport := f.String("transport", "websocket", "websocket or polling")
	pids := f.String("pid", "", "process `ids` of the server, comma separated, for its CPU time and memory")
	f.StringVar(&o.path, "path", "/socket.io/", "path of Socket.IO")
	f.StringVar(&o.mode, "mode", "idle", strings.Join(modes, ", "))
	f.IntVar(&o.n, "n", 1000, "connections")
	f.IntVar(&o.payload, "payload", 100, "`bytes` of text in a message")
	f.IntVar(&o.window, "window", 4, "messages in flight: broadcasts, or echoes of each connection")
	f.Float64Var(&o.perSecond, "bps", 0, "bcast: broadcasts a second, however late they arrive (0: -window)")
	f.IntVar(&o.active, "active", 0, "echo, storm: connections that send (0: all)")
	f.IntVar(&o.dialing, "connecting", 128, "handshakes in flight")
	f.DurationVar(&o.measured, "dur", 5*time.Second, "measured time")
	f.DurationVar(&o.warm, "warm", time.Second, "load before measuring begins")
	f.DurationVar(&o.settle, "settle", 2*time.Second, "wait before memory is read")
	f.DurationVar(&o.quiet, "quiet", 30*time.Second, "storm: silence before memory is read again")
	f.BoolVar(&o.json, "json", false, "print one line of JSON")
	f.StringVar(&o.label, "label", "", "name printed with the result")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	var err error
	for text := range strings.SplitSeq(*addrs, ",") {
		addr, err := netip.ParseAddrPort(text)
		if err != nil || !addr.Addr().Is4() || !addr.Addr().IsLoopback() {
			return o, errors.New("-addr must be an IPv4 loopback address with a port, or several")
		}
		o.addrs = append(o.addrs, addr)
	}
	if o.pids, err = parsePIDs(*pids); err != nil {
		return o, err
	}
	if !slices.Contains(modes, o.mode) {
		return o, fmt.Errorf("unknown -mode %q", o.mode)
	}
	if *transport != "websocket" && *transport != "polling" {
		return o, fmt.Errorf("unknown -transport %q", *transport)
	}
	o.polling = *transport == "polling"
	if o.n < 1 || o.window < 1 || o.dialing < 1 || o.payload < 0 || o.payload > maxPayload {
		return o, fmt.Errorf("-n, -window and -connecting must be positive, -payload at most %d", maxPayload)
	}
	return o, nil
}

// maxPayload keeps every message within a frame of 16-bit length.
const maxPayload = 60000

func parsePIDs(list string) ([]int, error) {
	var ids []int
	for _, s := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' }) {
		id, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("-pid: %w", err)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// addr is the server of the connection with this number.
func (o *options) addr(id int) netip.AddrPort { return o.addrs[id%len(o.addrs)] }

func (o *options) transport() string {
	if o.polling {
		return "polling"
	}
	return "websocket"
}
