package adminui

import (
	"embed"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye"
)

// StatusOptions are how the status page is served. The zero value works.
type StatusOptions struct {
	// Guard tells who may see the page. Default: OnlyLoopback.
	Guard func(r *http.Request) bool
}

//go:embed page
var page embed.FS

// Status is a page that shows how a server does, and changes nothing: connections, deliveries a
// second, how late its loops are, memory, drops. It is served at whatever path it is given, as by
// mux.Handle("/status", adminui.Status(srv, adminui.StatusOptions{})), or by Config.Fallback. Without a
// Guard it answers 403 to everybody but this machine. It has no state: nothing is done while
// nobody looks.
func Status(srv *sockeye.Server, opts StatusOptions) http.Handler {
	guard := opts.Guard
	if guard == nil {
		guard = OnlyLoopback
	}
	start := time.Now()
	files := map[string]file{}
	for name, f := range map[string]file{"": {"text/html", "status.html", nil}, "style": {"text/css", "status.css", nil}, "script": {"text/javascript", "status.js", nil}} {
		b, err := page.ReadFile("page/" + f.name)
		if err != nil {
			panic(err) // it is not embedded
		}
		f.content = b
		files[name] = f
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if !guard(r) {
			http.Error(w, "Forbidden", http.StatusForbidden)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			h.Set("Allow", "GET, HEAD")
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		name := r.URL.Query().Get("file")
		if name == "data" {
			h.Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(sampleOf(srv, start)) // the peer may have gone
			return
		}
		f, ok := files[name]
		if !ok {
			http.Error(w, "Not Found", http.StatusNotFound)
			return
		}
		h.Set("Content-Type", f.kind+"; charset=utf-8")
		_, _ = w.Write(f.content) // likewise
	})
}

type file struct {
	kind, name string
	content    []byte
}

// OnlyLoopback lets in what this machine asks: a request of a loopback address, for one
// (or for localhost), that no proxy has passed on, as far as its header tells.
func OnlyLoopback(r *http.Request) bool {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !peer.Addr().Unmap().IsLoopback() {
		return false
	}
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if _, ok := r.Header[name]; ok {
			return false
		}
	}
	// A page elsewhere whose name is made to point here has its own name.
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// sample is what the page is told.
type sample struct {
	At    int64 `json:"at"`    // ms
	Start int64 `json:"start"` // ms; another one is another process

	Live     bool     `json:"live"`
	Ready    bool     `json:"ready"`
	NotReady []string `json:"notReady"`

	Uptime          float64 `json:"uptime"` // s
	Connections     int     `json:"connections"`
	ConnectionLimit int     `json:"connectionLimit"`
	WebSocket       int     `json:"websocket"`
	Polling         int     `json:"polling"`
	Sockets         int     `json:"sockets"`
	Namespaces      int     `json:"namespaces"`
	Opened          uint64  `json:"opened"`
	EventsIn        uint64  `json:"eventsIn"`
	Deliveries      uint64  `json:"deliveries"`
	Loops           int     `json:"loops"`
	Lag             float64 `json:"lag"` // ms
	MaxLag          float64 `json:"maxLag"`
	Memory          int64   `json:"memory"`
	MemoryLimit     int64   `json:"memoryLimit"`
	Queued          int64   `json:"queued"`
	Drops           uint64  `json:"drops"`
	VolatileDropped uint64  `json:"volatileDropped"`
	Slow            uint64  `json:"slow"`
	Shed            uint64  `json:"shed"`
	Workers         int     `json:"workers"`
	ActiveSockets   int     `json:"activeSockets"`
	BytesIn         uint64  `json:"bytesIn"`
	BytesOut        uint64  `json:"bytesOut"`
	Refused         uint64  `json:"refused"`
	HandlerErrors   uint64  `json:"handlerErrors"`
}

func sampleOf(srv *sockeye.Server, start time.Time) sample {
	s, health, now := srv.Stats(), srv.Health(), time.Now()
	v := sample{
		At: now.UnixMilli(), Start: start.UnixMilli(), Live: health.Live, Ready: health.Ready, NotReady: health.NotReady,
		Uptime: now.Sub(start).Seconds(), Connections: s.Net.Open, ConnectionLimit: s.Net.ConnLimit,
		WebSocket: s.Engine.WebSocketSessions, Polling: s.Engine.PollingSessions, Opened: s.Engine.Opened,
		EventsIn: s.EventsIn, Deliveries: s.Deliveries + s.EventsOut, Loops: len(s.Net.Loops),
		Memory: s.Net.MemoryBytes, MemoryLimit: s.Net.MemoryLimit, Queued: s.Engine.QueuedBytes,
		VolatileDropped: s.VolatileDropped, Slow: s.Net.SlowConsumers + s.Engine.SlowConsumers, Shed: s.Net.Shed,
		Workers: s.Workers, ActiveSockets: s.ActiveSockets, BytesIn: s.Net.BytesIn, BytesOut: s.Net.BytesOut,
		Refused: s.Engine.Refused + s.Engine.RefusedSessions, HandlerErrors: s.HandlerErrors + s.HandlerPanics,
	}
	v.Drops = v.VolatileDropped + v.Slow + v.Shed
	for _, l := range s.Net.Loops {
		v.Lag = max(v.Lag, float64(l.Lag.Microseconds())/1000, float64(l.Busy.Microseconds())/1000)
		v.MaxLag = max(v.MaxLag, float64(l.MaxLag.Microseconds())/1000)
	}
	for _, ns := range srv.Namespaces() {
		v.Namespaces++
		v.Sockets += ns.Len()
	}
	return v
}
