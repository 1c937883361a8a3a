package engine

import (
	"bufio"
	"bytes"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

// TestSameHost: which origin is the one of the host that a request is for.
func TestSameHost(t *testing.T) {
	for _, c := range []struct {
		origin, host string
		want         bool
	}{
		{"https://example.org", "example.org", true},
		{"http://example.org", "example.org", true},
		{"https://example.org", "EXAMPLE.org", true}, // RFC 9110 section 4.2.3: case does not matter
		{"HTTPS://Example.ORG", "example.org", true},
		{"https://example.org", "example.org:443", true}, // the scheme's own port
		{"https://example.org:443", "example.org", true},
		{"http://example.org", "example.org:80", true},
		{"http://example.org:80", "example.org:80", true},
		{"http://example.org", "example.org:443", false},
		{"https://example.org", "example.org:80", false},
		{"http://localhost:3000", "localhost:3000", true},
		{"http://localhost:3000", "localhost", false},
		{"http://localhost", "localhost:3000", false},
		{"http://localhost:5173", "localhost:3000", false},
		{"http://127.0.0.1:3000", "localhost:3000", false},
		{"http://[::1]:3000", "[::1]:3000", true},
		{"http://[::1]", "[::1]", true},
		{"http://[::1]:3000", "::1:3000", true}, // xmlhttprequest-ssl sends Host so
		{"http://[::1]:3000", "[::2]:3000", false},
		{"http://[FE80::A]:1", "[fe80::a]:1", true},
		{"https://example.org.evil", "example.org", false},
		{"https://evil.example.org", "example.org", false},
		{"https://example.org@evil", "example.org", false},
		{"https://evil#example.org", "example.org", false},
		{"https://example.org/", "example.org", false}, // no browser sends a path
		{"https://example.org, https://evil", "example.org", false},
		{"capacitor://localhost", "localhost", false}, // an app's page is not this host's
		{"chrome-extension://example.org", "example.org", false},
		{"file://", "", false},
		{"http://", "", false},
		{"null", "null", false},
		{"example.org", "example.org", false},
		{"http://[::1", "[::1", false},
		{"https://example.org", "", false},
	} {
		o, ok := cutOrigin(c.origin)
		if got := ok && o.isHost(c.host); got != c.want {
			t.Errorf("Origin %q, Host %q: %v, want %v", c.origin, c.host, got, c.want)
		}
	}
}

// TestOriginRules: what the entries of Config.Origins allow.
func TestOriginRules(t *testing.T) {
	for entry, cases := range map[string]string{ // each begins with + for allowed
		"https://a.example":       "+https://a.example +https://A.example:443 -http://a.example -https://a.example:8443 -https://b.a.example -https://aa.example -null",
		"https://A.EXAMPLE:443":   "+https://a.example -https://a.example:444",
		"http://localhost:*":      "+http://localhost +http://localhost:5173 -https://localhost:5173 -http://localhost.evil:5173",
		"https://*.a.example":     "+https://b.a.example +https://c.b.A.example -https://a.example -https://.a.example -https://ba.example -https://b.a.example:8443 -http://b.a.example -https://a.example.evil",
		"https://*.a.example:*":   "+https://b.a.example:8443 +https://b.a.example -https://a.example:8443",
		"http://[::1]:3000":       "+http://[::1]:3000 -http://[::1] -http://[::2]:3000",
		"chrome-extension://abcd": "+chrome-extension://abcd -chrome-extension://abce -https://abcd",
		"capacitor://localhost":   "+capacitor://localhost -capacitor://localhost:80",
		"file://":                 "+file:// -file://x -null",
		"null":                    "+null -file:// -https://null",
		"*":                       "+null +file:// +https://x +anything",
	} {
		h := new(echoHandler)
		e := mustNew(Config{Origins: []string{entry}}, h)
		for _, c := range strings.Fields(cases) {
			if got := e.judge(c[1:], "host", "") == allowedOrigin; got != (c[0] == '+') {
				t.Errorf("%q allows %q: %v", entry, c[1:], got)
			}
		}
	}
}

// TestOriginFaults: what no browser sends is no origin that could be allowed, and the
// error tells what to write instead.
func TestOriginFaults(t *testing.T) {
	for entry, want := range map[string]string{
		"example.org":                  `"https://example.org"`,
		"//example.org":                `"https://example.org"`,
		"*.example.org":                "has no scheme",
		"":                             "has no scheme",
		"https://example.org/":         `has a path, which an origin has not: write "https://example.org"`,
		"https://example.org/app":      `write "https://example.org"`,
		"https://example.org?x":        `write "https://example.org"`,
		"https://user@example.org":     "is no origin",
		"https://a.example, https://b": "is no origin",
		"https://a.example https://b":  "is no origin",
		"https://":                     "has no host",
		"https://:3000":                "has no host",
		"https://*.":                   "has no host",
		"https://*":                    `has a "*" where none may be`,
		"https://a.*.example":          `has a "*" where none may be`,
		"https://*a.example":           `has a "*" where none may be`,
		"https://a.example:80*":        "has the port",
		"https://a.example:http":       "has the port",
		"https://bücher.example":       "xn--",
		"wss://a.example":              `write "https://a.example"`,
		"ws://a.example:3000":          `write "http://a.example:3000"`,
		"1https://a.example":           "has no scheme",
		"https://[::1":                 "is no origin",
		"NULL":                         "has no scheme",
	} {
		err := Config{Origins: []string{"https://ok.example", entry}}.Validate()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "engine: Config.Origins[1] is ") {
			t.Errorf("%q: %v, want %q", entry, err, want)
		}
	}
}

// ask sends a request with header lines and returns the answer's status and header.
func ask(t *testing.T, e *Engine, lines string) *http.Response {
	t.Helper()
	n := netpolltest.New(netpoll.Config{}, Mux{e}, 1)
	p := n.Dial(0)
	p.Write([]byte("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n" + lines + "\r\n"))
	n.Run()
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(p.Read())), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestOriginHeaders: several Origins are none, X-Forwarded-Host is not believed, an
// empty one is no browser's.
func TestOriginHeaders(t *testing.T) {
	for lines, want := range map[string]int{
		"Origin: http://h\r\nOrigin: http://evil\r\n":             403,
		"Origin: http://h\r\nOrigin: http://h\r\n":                403,
		"Origin: http://evil\r\nX-Forwarded-Host: evil\r\n":       403,
		"Origin: http://evil\r\nX-Forwarded-Proto: https\r\n":     403,
		"Origin: http://h http://evil\r\n":                        403,
		"Origin:\r\n":                                             200,
		"Origin: http://h\r\nX-Forwarded-Host: other\r\n":         200,
		"Origin: " + strings.Repeat("http://evil", 1000) + "\r\n": 403,
	} {
		e := mustNew(Config{Logger: slog.New(slog.DiscardHandler)}, new(echoHandler))
		if got := ask(t, e, lines).StatusCode; got != want {
			t.Errorf("%.60q: %d, want %d", lines, got, want)
		}
	}
}

// TestAllowOrigin is asked about origins that the lists do not decide on, and decides
// on CORS, too; a panic in it refuses.
func TestAllowOrigin(t *testing.T) {
	var asked []string
	e := mustNew(Config{
		Origins: []string{"https://listed"}, Credentials: true, Logger: slog.New(slog.DiscardHandler),
		AllowOrigin: func(origin string, r *Request) bool {
			asked = append(asked, origin+" "+r.Header("X-Tenant"))
			if origin == "https://panic" {
				panic(origin)
			}
			return origin == "https://"+r.Header("X-Tenant")
		},
	}, new(echoHandler))
	for _, c := range []struct {
		origin, tenant string
		want           int
		asked          bool
	}{
		{"https://listed", "a", 200, false},
		{"http://h", "a", 200, false},
		{"https://a", "a", 200, true},
		{"https://b", "a", 403, true},
		{"null", "a", 403, true},
		{"not an origin", "a", 403, true},
		{"https://panic", "panic", 403, true},
	} {
		asked = nil
		lines := "Origin: " + c.origin + "\r\nX-Tenant: " + c.tenant + "\r\n"
		resp := ask(t, e, lines)
		if resp.StatusCode != c.want || (asked != nil) != c.asked || c.asked && !slices.Equal(asked, []string{c.origin + " " + c.tenant}) {
			t.Errorf("%q: %d, asked about %q", lines, resp.StatusCode, asked)
		}
		allowed := resp.Header.Get("Access-Control-Allow-Origin")
		if c.want == 200 && (allowed != c.origin || resp.Header.Get("Access-Control-Allow-Credentials") != "true") || c.want == 403 && allowed != "" {
			t.Errorf("%q: %v", lines, resp.Header)
		}
		if resp.Header.Get("Vary") != "Origin" {
			t.Errorf("%q: a cache would give the answer to pages of other origins: %v", lines, resp.Header)
		}
		// The same for an answer beside the engine's.
		asked = nil
		r := httptest.NewRequest("GET", "http://h/socket.io/socket.io.js?x=%22", nil)
		r.Header.Set("Origin", c.origin)
		r.Header.Set("X-Tenant", c.tenant)
		h := http.Header{}
		e.AddCORS(h, r)
		want := ""
		if c.want == 200 {
			want = c.origin
		}
		if got := h.Get("Access-Control-Allow-Origin"); got != want || h.Get("Vary") != "Origin" || (asked != nil) != c.asked {
			t.Errorf("%q beside the engine: %v, asked %q", c.origin, h, asked)
		}
	}
	if got := e.Stats(); got.Panics != 2 || got.ForeignOrigins != 4 || got.Refused != 4 {
		t.Errorf("%+v", got)
	}
}

// TestOriginWarnings: each foreign origin is warned of once, with the line that lets it
// in; made-up ones do not fill the log.
func TestOriginWarnings(t *testing.T) {
	var out bytes.Buffer
	e := mustNew(Config{Logger: slog.New(slog.NewTextHandler(&out, nil))}, new(echoHandler))
	for range 3 {
		ask(t, e, "Origin: https://my.app:8443\r\n")
	}
	if got := out.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, `Config{Origins: []string{\"https://my.app:8443\"}}`) || !strings.Contains(got, "level=WARN") {
		t.Errorf("%s", got)
	}
	for i := range 100 {
		ask(t, e, fmt.Sprintf("Origin: https://%d.example\r\n", i))
	}
	ask(t, e, "Origin: https://"+strings.Repeat("x", 5000)+"\r\n")
	if n := strings.Count(out.String(), "\n"); n != maxWarned {
		t.Errorf("%d lines", n)
	}
	if got := e.Stats().ForeignOrigins; got != 104 {
		t.Errorf("%d are counted", got)
	}
}

func FuzzOrigin(f *testing.F) {
	for _, s := range []string{"https://a.example", "http://[::1]:3000", "null", "", "https://*.a:*", "a://b://c", "https://[", "http://:", "https://]:[", "x://%zz"} {
		f.Add(s, s, "a.example")
	}
	f.Fuzz(func(t *testing.T, entry, from, host string) {
		cfg := Config{Origins: []string{entry}, Logger: slog.New(slog.DiscardHandler)}
		if cfg.Validate() != nil {
			return
		}
		e := mustNew(cfg, new(echoHandler))
		v := e.judge(from, host, "")
		if v == allowedOrigin && entry != "*" && from != "null" {
			o, ok := cutOrigin(from)
			scheme, _, _ := strings.Cut(entry, "://")
			if !ok || !strings.EqualFold(o.scheme, scheme) {
				t.Errorf("%q allows %q", entry, from)
			}
			if !strings.Contains(entry, "*") && !strings.EqualFold(o.host, e.origins.list[0].host) {
				t.Errorf("%q allows %q", entry, from)
			}
		}
		if v == sameHost && !strings.Contains(strings.ToLower(host), strings.ToLower(strings.Trim(mustCut(from).host, "[]"))) {
			t.Errorf("%q is taken for a page of %q", from, host)
		}
	})
}

func mustCut(s string) origin {
	o, _ := cutOrigin(s)
	return o
}
