package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// options are the flags of the command.
type options struct {
	url       *url.URL
	mode      string
	polling   bool
	stages    []stage
	warmup    time.Duration
	namespace string
	auth      string
	headers   []string

	event   string
	on      string
	reply   string
	size    int
	rate    float64
	window  int
	senders int // -1: as the mode has it

	receivers  int
	connecting int
	timeout    time.Duration
	maxMessage int
	sources    []netip.Addr
	tls        *tls.Config

	json, html, title string
	quiet             bool
	failP99           time.Duration
	failConnectP99    time.Duration
	failErrors        string
	failReceived      float64

	flags []option // for the report
}

// option is a flag as it was given, or its default.
type option struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Given bool   `json:"given"`
}

// stage is a step of the load: so many connections, opened or closed at a rate, then held.
type stage struct {
	connections int
	ramp        float64 // a second; 0: as fast as they go
	hold        time.Duration
}

var modes = []string{"idle", "echo", "broadcast", "churn"}

// maxSize is the most that a message carries.
const maxSize = 1 << 20

// maxConnections is above what one thread is good for.
const maxConnections = 1 << 20

// parse reads the flags and refuses what cannot be run.
func parse(args []string, usage io.Writer) (*options, error) {
	o := &options{}
	f := flag.NewFlagSet("sockeye-load", flag.ContinueOnError)
	f.SetOutput(usage)
	f.Usage = func() {
		fmt.Fprintln(usage, "usage: sockeye-load [flags] URL\n\nURL is http, https, ws or wss; its path is that of Socket.IO, /socket.io/ if it has none. docs/load.md explains.")
		f.PrintDefaults()
	}
	f.StringVar(&o.mode, "mode", "idle", "what connections do: "+strings.Join(modes, ", "))
	connections := f.Int("connections", 100, "connections")
	ramp := f.Float64("ramp", 0, "connections opened a `second` (0: as fast as they go)")
	duration := f.Duration("duration", 10*time.Second, "how long the load lasts once all are connected")
	stages := f.String("stages", "", "several steps `N@RAMP:HOLD,...` instead of -connections, -ramp and -duration: 1000@200:30s,5000@500:1m,0@1000")
	f.DurationVar(&o.warmup, "warmup", 0, "load before measuring begins")
	transport := f.String("transport", "websocket", "websocket or polling")
	f.StringVar(&o.namespace, "namespace", "/", "namespace to join")
	f.StringVar(&o.auth, "auth", "", "the auth payload, a `JSON` object; {n} in it becomes the connection's number")
	f.Func("header", "a `field` of each request, \"Name: value\"; may be given several times", func(v string) error {
		name, _, ok := strings.Cut(v, ":")
		if !ok || name == "" || strings.ContainsAny(v, "\r\n\x00") || strings.ContainsAny(name, " \t") {
			return errors.New("want Name: value")
		}
		o.headers = append(o.headers, v)
		return nil
	})
	f.StringVar(&o.event, "event", "", "`name` of the event that is sent (default: the mode's name)")
	f.StringVar(&o.on, "on", "", "broadcast: `name` of the event that the server sends (default: that of -event)")
	f.StringVar(&o.reply, "reply", "", "echo: `name` of the event that answers (default: none, the server acknowledges)")
	f.IntVar(&o.size, "size", 100, "`bytes` of text in a message")
	f.Float64Var(&o.rate, "rate", 0, "messages, or with churn reconnects, a `second`, all connections together, however late answers are (0: -window)")
	f.IntVar(&o.window, "window", 1, "without -rate: messages under way, of each sender (echo) or of all (broadcast)")
	f.IntVar(&o.senders, "senders", -1, "connections that send (default: all in echo, 1 in broadcast; 0 in broadcast: the server sends by itself)")
	f.IntVar(&o.receivers, "receivers", 0, "broadcast: how many get each (default: all connections, without the sender if the server leaves it out)")
	f.IntVar(&o.connecting, "connecting", 100, "handshakes under way at the same time, at most")
	f.DurationVar(&o.timeout, "timeout", 10*time.Second, "how long a handshake, an answer or a delivery may take")
	f.IntVar(&o.maxMessage, "max-message", 16<<20, "largest message from the server, in `bytes`")
	sources := f.String("source", "", "`addresses` that connections come from: 127.0.0.2,127.0.0.3 or 127.0.0.2-127.0.0.9")
	insecure := f.Bool("insecure", false, "https: do not check the server's certificate")
	ca := f.String("ca", "", "https: `file` of the certificates that are trusted, PEM")
	f.StringVar(&o.json, "json", "", "write the result to this `file` (-: standard output)")
	f.StringVar(&o.html, "html", "", "write the report to this `file`")
	f.StringVar(&o.title, "title", "", "title of the report")
	f.BoolVar(&o.quiet, "quiet", false, "no progress")
	f.DurationVar(&o.failP99, "fail-p99", 0, "end with code 1 if 1 % of the latencies are above this, lost messages included")
	f.DurationVar(&o.failConnectP99, "fail-connect-p99", 0, "end with code 1 if 1 % of the connects took longer, or have not joined")
	f.StringVar(&o.failErrors, "fail-errors", "", "end with code 1 if there are more errors: a `number`, or with % a share of connects and messages")
	f.Float64Var(&o.failReceived, "fail-received", 0, "end with code 1 if fewer messages a `second` have come")
	// The URL may stand anywhere.
	var rest []string
	for len(args) > 0 {
		if err := f.Parse(args); err != nil {
			return nil, err
		}
		if args = f.Args(); len(args) > 0 {
			rest, args = append(rest, args[0]), args[1:]
		}
	}
	if len(rest) != 1 {
		return nil, errors.New("want one URL: sockeye-load [flags] http://host:port (sockeye-load -h lists the flags)")
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	err := errors.Join(o.setURL(rest[0]), o.setStages(*stages, *connections, *ramp, *duration, given), o.setSources(*sources),
		o.check(*transport), o.setTLS(*insecure, *ca), o.checkThresholds())
	if err != nil {
		return nil, err
	}
	f.VisitAll(func(f *flag.Flag) { o.flags = append(o.flags, o.shown(f, given[f.Name])) })
	return o, nil
}

// shown is a flag for the report: without what may be secret.
func (o *options) shown(f *flag.Flag, given bool) option {
	v := f.Value.String()
	switch f.Name {
	case "auth":
		if given {
			v = "(given)"
		}
	case "header":
		var names []string
		for _, h := range o.headers {
			name, _, _ := strings.Cut(h, ":")
			names = append(names, name+": (given)")
		}
		v = strings.Join(names, ", ")
	case "event":
		v = o.event
	case "on":
		v = o.on
	}
	return option{f.Name, v, given}
}

func (o *options) setURL(text string) error {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil {
		return err
	}
	switch u.Scheme {
	case "ws":
		u.Scheme = "http"
	case "wss":
		u.Scheme = "https"
	}
	if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("%q is no URL of http, https, ws or wss", text)
	}
	if u.User != nil {
		return errors.New("a name and a password go into -header, not into the URL")
	}
	if strings.ContainsAny(u.RawQuery, " \r\n\t") {
		return errors.New("the URL's query has white space")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/socket.io/"
	}
	u.Fragment = ""
	o.url = u
	return nil
}

// shownURL is the URL for the report: its query may have a secret.
func (o *options) shownURL() string {
	u := *o.url
	if u.RawQuery != "" {
		u.RawQuery = "…"
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath() + strings.TrimSuffix("?"+u.RawQuery, "?")
}

func (o *options) setStages(text string, connections int, ramp float64, hold time.Duration, given map[string]bool) error {
	if text == "" {
		o.stages = []stage{{connections, ramp, hold}}
	} else {
		if given["connections"] || given["ramp"] || given["duration"] {
			return errors.New("-stages takes the place of -connections, -ramp and -duration")
		}
		for part := range strings.SplitSeq(text, ",") {
			s, err := parseStage(part)
			if err != nil {
				return fmt.Errorf("-stages: %q: %w", part, err)
			}
			o.stages = append(o.stages, s)
		}
	}
	for _, s := range o.stages {
		if s.connections < 0 || s.connections > maxConnections || !(s.ramp >= 0 && s.ramp <= 1e6) || s.hold < 0 {
			return fmt.Errorf("connections are from 0 to %d, a ramp from 0 to 1,000,000, and a time is not negative", maxConnections)
		}
	}
	if o.stages[0].connections == 0 {
		return errors.New("it begins with one connection at least")
	}
	return nil
}

// parseStage reads N, N@RAMP or N@RAMP:HOLD.
func parseStage(text string) (s stage, err error) {
	text, hold, held := strings.Cut(strings.TrimSpace(text), ":")
	n, ramp, ramped := strings.Cut(text, "@")
	if s.connections, err = strconv.Atoi(n); err != nil {
		return s, errors.New("want N@RAMP:HOLD, such as 1000@200:30s")
	}
	if ramped {
		if s.ramp, err = strconv.ParseFloat(ramp, 64); err != nil {
			return s, errors.New("the ramp is a number, of connections a second")
		}
	}
	if held {
		if s.hold, err = time.ParseDuration(hold); err != nil {
			return s, errors.New("the hold is a time, such as 30s")
		}
	}
	return s, nil
}

// most is the number of connections of the largest stage.
func (o *options) most() (n int) {
	for _, s := range o.stages {
		n = max(n, s.connections)
	}
	return n
}

// maxSources is more than a network's interface has.
const maxSources = 4096

func (o *options) setSources(text string) error {
	if text == "" {
		return nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(strings.TrimSpace(part), "-")
		a, err := netip.ParseAddr(first)
		b := a
		if err == nil && ranged {
			b, err = netip.ParseAddr(last)
		}
		if err != nil || a.Zone() != "" || b.Less(a) || a.Is4() != b.Is4() {
			return fmt.Errorf("-source: %q is neither an address nor a range of them", part)
		}
		for ; !b.Less(a); a = a.Next() {
			if o.sources = append(o.sources, a); len(o.sources) > maxSources {
				return fmt.Errorf("-source: more than %d addresses", maxSources)
			}
		}
	}
	return nil
}

func (o *options) check(transport string) error {
	if !slices.Contains(modes, o.mode) {
		return fmt.Errorf("unknown -mode %q: it is one of %s", o.mode, strings.Join(modes, ", "))
	}
	if transport != "websocket" && transport != "polling" {
		return fmt.Errorf("unknown -transport %q: it is websocket or polling", transport)
	}
	o.polling = transport == "polling"
	if o.namespace != "" && !strings.HasPrefix(o.namespace, "/") || strings.ContainsAny(o.namespace, ",?\x1e\r\n") {
		return fmt.Errorf("-namespace %q: it begins with / and has no comma", o.namespace)
	}
	if o.auth != "" && json.Unmarshal([]byte(o.authOf(0)), &map[string]any{}) != nil {
		return errors.New("-auth is no JSON object")
	}
	if o.event == "" {
		o.event = o.mode
	}
	if o.on == "" {
		o.on = o.event
	}
	switch {
	case o.size < 0 || o.size > maxSize:
		return fmt.Errorf("-size is from 0 to %d", maxSize)
	case !(o.rate >= 0 && o.rate <= 1e6):
		return errors.New("-rate is from 0 to 1,000,000")
	case o.window < 1 || o.window > maxPending:
		return fmt.Errorf("-window is from 1 to %d", maxPending)
	case o.senders < -1 || o.receivers < 0:
		return errors.New("-senders and -receivers are not negative")
	case o.mode == "echo" && o.senders == 0:
		return errors.New("-mode echo needs senders")
	case o.connecting < 1:
		return errors.New("-connecting is 1 at least")
	case o.timeout < time.Millisecond || o.warmup < 0:
		return errors.New("-timeout is positive, -warmup is not negative")
	case o.json != "" && o.json == o.html:
		return fmt.Errorf("-json and -html cannot both go to %s", o.json)
	case o.maxMessage < 1024 || o.maxMessage > 1<<30:
		return errors.New("-max-message is from 1024 to 1073741824")
	}
	return nil
}

// authOf is the auth payload of a connection.
func (o *options) authOf(id int) string { return strings.ReplaceAll(o.auth, "{n}", strconv.Itoa(id)) }

func (o *options) setTLS(insecure bool, ca string) error {
	if o.url == nil {
		return nil
	}
	if o.url.Scheme != "https" {
		if insecure || ca != "" {
			return errors.New("-insecure and -ca are for https and wss")
		}
		return nil
	}
	o.tls = &tls.Config{ServerName: o.url.Hostname(), InsecureSkipVerify: insecure, NextProtos: []string{"http/1.1"}}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return err
		}
		o.tls.RootCAs = x509.NewCertPool()
		if !o.tls.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("-ca: %s has no certificate", ca)
		}
	}
	return nil
}

func (o *options) checkThresholds() error {
	if o.failErrors != "" {
		if _, _, err := parseShare(o.failErrors); err != nil {
			return err
		}
	}
	if o.failP99 < 0 || o.failConnectP99 < 0 || !(o.failReceived >= 0) {
		return errors.New("thresholds are not negative")
	}
	if o.failP99 > 0 && o.mode == "idle" {
		return errors.New("-fail-p99 is of messages, which -mode idle has not: take -fail-connect-p99")
	}
	return nil
}

// parseShare reads a number, or a share in percent.
func parseShare(text string) (v float64, share bool, err error) {
	number, share := strings.CutSuffix(text, "%")
	v, err = strconv.ParseFloat(number, 64)
	if err != nil || !(v >= 0) {
		return 0, false, fmt.Errorf("-fail-errors %q: want a number, or a share such as 0.1%%", text)
	}
	return v, share, nil
}

func (o *options) transport() string {
	if o.polling {
		return "polling"
	}
	return "websocket"
}
