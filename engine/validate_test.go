package engine

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// TestValidate: each fault is told, all of them at once, and what to do about it.
func TestValidate(t *testing.T) {
	for want, cfg := range map[string]Config{
		"PingInterval is 25 nanoseconds; has a unit been forgotten? Write 25 * time.Second": {PingInterval: 25},
		"PingTimeout is 20000 nanoseconds":                                                  {PingTimeout: 20_000},
		"UpgradeTimeout is -1s":                                                             {UpgradeTimeout: -time.Second},
		"CloseTimeout is -1ns":                                                              {CloseTimeout: -1},
		"MaxPayload is -1":                                                                  {MaxPayload: -1},
		"MaxPayload is 2000000000":                                                          {MaxPayload: 2_000_000_000},
		"MaxQueuedBytes is -1":                                                              {MaxQueuedBytes: -1},
		"MaxDeciding is -1":                                                                 {MaxDeciding: -1},
		"Transports is empty":                                                               {Transports: []string{}},
		`Transports[1] is "webtransport"`:                                                   {Transports: []string{"polling", "webtransport"}},
		`Transports[0] is "WebSocket"`:                                                      {Transports: []string{"WebSocket"}},
		`Transports[1] is "polling" once`:                                                   {Transports: []string{"polling", "polling"}},
		`Path is "/a b/"`:                                                                   {Path: "/a b/"},
		`Path is "/a?b"`:                                                                    {Path: "/a?b"},
		`Path is "/ä"`:                                                                      {Path: "/ä"},
		`which clients send as "/b": write`:                                                 {Path: "/a/../b"},
		`which clients send as "/a/b": w`:                                                   {Path: "a//b"},
		`Unclaimed[0] is "/other"`:                                                          {Unclaimed: []string{"/other"}},
		"Origins has \"*\" and Credentials":                                                 {Origins: []string{"https://a", "*"}, Credentials: true},
		"Origins has \"*\" and AllowOrigin":                                                 {Origins: []string{"*"}, AllowOrigin: func(string, *Request) bool { return false }},
		`Origins[0] is "a.example"`:                                                         {Origins: []string{"a.example"}},
		"Cookie cannot be sent":                                                             {Cookie: &http.Cookie{Name: "a b"}},
	} {
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "engine: Config.") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%v, want %s", err, want)
		}
		if e, err := New(cfg, new(echoHandler)); e != nil || err == nil {
			t.Errorf("New takes it: %s", want)
		}
	}
	all := Config{PingInterval: 25, PingTimeout: -1, Transports: []string{"a", "b"}, Origins: []string{"x", "y"}, MaxPayload: -1, Path: "?"}
	if err := all.Validate(); strings.Count(err.Error(), "\n") != 7 {
		t.Errorf("want eight faults: %v", err)
	}
	for _, cfg := range []Config{
		{},
		{PingInterval: time.Millisecond, PingTimeout: time.Millisecond},
		{Path: "/"},
		{Path: "/a", NoTrailingSlash: true},
		{Path: "a"},
		{Path: "/a%20b/"},
		{MaxSessions: -1, MaxPendingSessions: -1, MaxKeptHeadBytes: -1, HTTPCompressionThreshold: -1},
		{Path: "/a", Unclaimed: []string{"/a/x.js"}},
		{Origins: []string{"*"}},
		{Origins: []string{"https://a"}, Credentials: true},
		{AllowOrigin: func(string, *Request) bool { return true }, Credentials: true},
		{Cookie: &http.Cookie{Name: "io"}},
		{Transports: []string{"websocket"}},
	} {
		if err := cfg.Validate(); err != nil {
			t.Error(err)
		}
	}
	if _, err := New(Config{}, nil); err == nil {
		t.Error("New takes no Handler for one")
	}
}

// TestContradictions: what a group and its engines say is compared, before anything
// is opened.
func TestContradictions(t *testing.T) {
	h := new(echoHandler)
	at := func(path string) *Engine { return mustNew(Config{Path: path}, h) }
	for want, c := range map[string]struct {
		cfg     netpoll.Config
		engines []*Engine
	}{
		"MaxPayload is 1000000, which peers of /a/ are told, and netpoll.Config.MaxBodyBytes takes 1000": {netpoll.Config{MaxBodyBytes: 1000}, []*Engine{at("/a/")}},
		"netpoll.Config.MaxMessageBytes takes 1000":                                                      {netpoll.Config{MaxMessageBytes: 1000}, []*Engine{at("/a/")}},
		`its path "/a/" begins with that of engine 0`:                                                    {netpoll.Config{}, []*Engine{at("/a/"), at("/a/")}},
		`its path "/a/b/" begins with that of engine 0`:                                                  {netpoll.Config{}, []*Engine{at("/a/"), at("/a/b/")}},
		"engine 1 of Start is nil":                                                                       {netpoll.Config{}, []*Engine{at("/a/"), nil}},
		"Start needs an engine":                                                                          {netpoll.Config{}, nil},
		"netpoll: Config.Loops is -1":                                                                    {netpoll.Config{Loops: -1, MaxBodyBytes: 10}, []*Engine{at("/a/")}},
	} {
		g, err := Start(c.cfg, c.engines...)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if g != nil {
			_ = g.Close(t.Context())
		}
	}
	g, err := Start(netpoll.Config{Loops: 1}, at("/a/b/"), at("/a/"))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
