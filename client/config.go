package client

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/url"
	"time"
)

// Config configures a connection. The zero value is ready to use. In each field
// 0 means the default.
type Config struct {
	// Path is the server's. Default "/socket.io/".
	Path string

	// Transports are tried in this order; a polling connection is upgraded to a
	// WebSocket if that is listed, too. Default: "polling", "websocket".
	Transports []string

	// Auth is what the server's handlers get as auth: encoded as a JSON object. A
	// func() any is called for each connection.
	Auth any

	// Query and Header are added to each request.
	Query  url.Values
	Header http.Header

	// HTTPClient sends the requests of polling. Default: one of its own.
	HTTPClient *http.Client

	// TLS is for https and wss, unless HTTPClient has its own.
	TLS *tls.Config

	// NoReconnect leaves a connection that broke alone.
	NoReconnect bool

	// ReconnectDelay is the time to the first attempt to connect again; it doubles
	// up to ReconnectDelayMax, and each is changed by up to half at random.
	// Defaults: 1 s and 5 s.
	ReconnectDelay    time.Duration
	ReconnectDelayMax time.Duration

	// ReconnectAttempts is after how many attempts to give up. Default: never.
	ReconnectAttempts int

	// ConnectTimeout is the time that an attempt to connect has. Default 20 s.
	ConnectTimeout time.Duration

	// MaxMessageBytes bounds a message, or a poll's answer, of the server; one more
	// byte ends the connection. Default 64 MiB.
	MaxMessageBytes int

	// MaxBuffered bounds the events that wait for a connection; Emit returns
	// ErrBufferFull then. Default 1,000.
	MaxBuffered int

	// MaxQueued bounds the events that wait for a Client's handlers; the
	// connection is not read then. Default 1,000.
	MaxQueued int

	// Logger receives faults of this side. Default: slog.Default.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Path == "" {
		c.Path = "/socket.io/"
	}
	if c.Transports == nil {
		c.Transports = []string{"polling", "websocket"}
	}
	if c.HTTPClient == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig = c.TLS
		c.HTTPClient = &http.Client{Transport: t}
	}
	for p, v := range map[*time.Duration]time.Duration{
		&c.ReconnectDelay: time.Second, &c.ReconnectDelayMax: 5 * time.Second, &c.ConnectTimeout: 20 * time.Second,
	} {
		if *p == 0 {
			*p = v
		}
	}
	for p, v := range map[*int]int{&c.MaxMessageBytes: 64 << 20, &c.MaxBuffered: 1_000, &c.MaxQueued: 1_000} {
		if *p == 0 {
			*p = v
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}
