package sockeye_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// fetch sends a GET and returns what came.
func fetch(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	client := http.Client{Transport: &http.Transport{DisableCompression: true, DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func TestClientBundle(t *testing.T) {
	files := fstest.MapFS{"socket.io.js": {Data: []byte("the client")}, "socket.io.js.map": {Data: []byte("{}")}, "secret.txt": {Data: []byte("secret")}}
	addr, _ := serve(t, sockeye.Config{Client: files, Fallback: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "fallback") })}, nil)
	base := "http://" + addr + "/socket.io/"
	resp, body := fetch(t, base+"socket.io.js")
	etag := resp.Header.Get("ETag")
	if body != "the client" || resp.Header.Get("Cache-Control") != "public, max-age=0" || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/javascript") || etag == "" {
		t.Errorf("%q, %v", body, resp.Header)
	}
	if resp, body := fetch(t, base+"socket.io.js", "If-None-Match", "W/"+etag); resp.StatusCode != 304 || body != "" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if resp, _ := fetch(t, base+"socket.io.js", "Accept-Encoding", "gzip"); resp.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("%v", resp.Header)
	}
	if resp, _ := fetch(t, base+"socket.io.js.map"); !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		t.Errorf("%v", resp.Header)
	}
	for _, name := range []string{"secret.txt", "socket.io.min.js"} {
		if resp, body := fetch(t, base+name); resp.StatusCode != 400 || strings.Contains(body, "secret") {
			t.Errorf("%s: %d %q", name, resp.StatusCode, body)
		}
	}
	if _, body := fetch(t, "http://"+addr+"/other"); body != "fallback" {
		t.Errorf("%q", body)
	}
	wiretest.Connect(t, addr)
}

// TestClientBundleCORS: a page may import the client from here if it may connect.
func TestClientBundleCORS(t *testing.T) {
	files := fstest.MapFS{"socket.io.esm.min.js": {Data: []byte("the client")}}
	for _, c := range []struct {
		cfg          sockeye.Config
		origin, want string
		vary         string
	}{
		{sockeye.Config{}, "https://a.example", "", "Accept-Encoding"},
		{sockeye.Config{Origins: []string{"https://a.example"}}, "https://a.example", "https://a.example", "Accept-Encoding, Origin"},
		{sockeye.Config{Origins: []string{"https://a.example"}}, "https://b.example", "", "Accept-Encoding, Origin"},
		{sockeye.Config{Origins: []string{"*"}}, "https://b.example", "*", "Accept-Encoding"},
		{sockeye.Config{AllowOrigin: func(o string, r *sockeye.Request) bool {
			return o == "https://c.example" && r.URL() == "/socket.io/socket.io.esm.min.js" && r.Address() != ""
		}}, "https://c.example", "https://c.example", "Accept-Encoding, Origin"},
	} {
		c.cfg.Client = files
		addr, _ := serve(t, c.cfg, nil)
		resp, body := fetch(t, "http://"+addr+"/socket.io/socket.io.esm.min.js", "Origin", c.origin)
		vary := strings.Join(resp.Header.Values("Vary"), ", ")
		if resp.StatusCode != 200 || body != "the client" || resp.Header.Get("Access-Control-Allow-Origin") != c.want || vary != c.vary {
			t.Errorf("%v, Origin %s: %d %v", c.cfg.Origins, c.origin, resp.StatusCode, resp.Header)
		}
	}
}

// TestFaultsOfAllParts: New tells the faults of Engine.IO's and of the loops'
// configuration together with its own.
func TestFaultsOfAllParts(t *testing.T) {
	_, err := sockeye.New(sockeye.Config{
		AckTimeout: 30, Transports: []string{"carrier pigeon"}, PingInterval: 25, Origins: []string{"example.org"},
		Loops: -1,
	})
	for _, want := range []string{"AckTimeout", "Transports[0]", "PingInterval", "Origins[0]", "Loops"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s is missing: %v", want, err)
		}
	}
}

func TestPaths(t *testing.T) {
	for _, c := range []struct {
		cfg    sockeye.Config
		yes    string
		no     string
		listed string
	}{
		{sockeye.Config{}, "/socket.io/?", "/socket.io?", "/socket.io/"},
		{sockeye.Config{Path: "chat"}, "/chat/?", "/socket.io/?", "/chat/"},
		{sockeye.Config{Path: "/a/b/"}, "/a/b/?", "/a/?", "/a/b/"},
		{sockeye.Config{Path: "/x/", NoTrailingSlash: true}, "/x?", "/?", "/x"},
		{sockeye.Config{NoTrailingSlash: true}, "/socket.io/?", "/socket?", "/socket.io"},
	} {
		addr, srv := serve(t, c.cfg, nil)
		if srv.Path() != c.listed {
			t.Errorf("path %q, want %q", srv.Path(), c.listed)
		}
		const query = "EIO=4&transport=polling"
		if resp, body := fetch(t, "http://"+addr+c.yes+query); resp.StatusCode != 200 || !strings.HasPrefix(body, "0{") {
			t.Errorf("%s: %d %q", c.yes, resp.StatusCode, body)
		}
		if resp, _ := fetch(t, "http://"+addr+c.no+query); resp.StatusCode != 404 {
			t.Errorf("%s: %d", c.no, resp.StatusCode)
		}
	}
}

func TestEngineMiddlewareAndHeaders(t *testing.T) {
	type key struct{}
	refused := make(chan string, 10)
	addr, srv := serve(t, sockeye.Config{
		Middleware: func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch user := r.URL.Query().Get("user"); user {
				case "":
					w.Header().Set("WWW-Authenticate", "Basic")
					http.Error(w, "who are you?", http.StatusUnauthorized)
				case "silent":
				case "panic":
					panic("middleware")
				default:
					w.Header().Set("X-User", user)
					next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, user)))
				}
			})
		},
		AllowRequest: func(r *sockeye.Request) error {
			if r.Context().Value(key{}) == "mallory" {
				return &sockeye.ConnectError{Message: "not you"}
			}
			return nil
		},
		Headers: func(h http.Header, r *sockeye.Request, initial bool) {
			h.Set("X-Initial", fmt.Sprint(initial))
			h.Set("X-Split", "a\r\nX-Injected: b")
		},
		OnRefused: func(r *sockeye.Request, x engine.Refusal) {
			refused <- fmt.Sprint(r.Method(), x.Code, x.Message)
		},
	}, nil)
	url := "http://" + addr + "/socket.io/?EIO=4&transport=polling"
	if resp, body := fetch(t, url); resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") != "Basic" || !strings.HasPrefix(body, "who are you?") {
		t.Errorf("%d %v %q", resp.StatusCode, resp.Header, body)
	}
	for user, want := range map[string]string{"silent": "GET4Forbidden", "panic": "GET4Forbidden", "mallory": "GET4not you"} {
		if resp, body := fetch(t, url+"&user="+user); resp.StatusCode != 403 {
			t.Errorf("%s: %d %q", user, resp.StatusCode, body)
		}
		if got := within(t, refused); got != want {
			t.Errorf("%s: told %q, want %q", user, got, want)
		}
	}
	resp, body := fetch(t, url+"&user=ann")
	if resp.StatusCode != 200 || resp.Header.Get("X-User") != "ann" || resp.Header.Get("X-Initial") != "true" || resp.Header.Get("X-Injected") != "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	sid := body[9:29]
	post, err := http.Post(url+"&sid="+sid, "text/plain", strings.NewReader("40"))
	if err != nil || post.StatusCode != 200 || post.Header.Get("X-Initial") != "false" || post.Header.Get("X-User") != "" {
		t.Errorf("%v %v", post, err)
	}
	eventually(t, func() bool { return srv.Len() == 1 })
	if got := srv.Sockets()[0].Request().Context().Value(key{}); got != "ann" {
		t.Errorf("context has %v", got)
	}
	wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket&user=bob").Expect("0{*")
}

// TestReferenceHandshake: the cases of engine.io/test/server.js about what a
// handshake's answer says, by option.
func TestReferenceHandshake(t *testing.T) {
	cookie := func(c http.Cookie) sockeye.Config { return sockeye.Config{Cookie: &c, GenerateID: fixedID} }
	const polling, websocket = "transport=polling", "transport=websocket"
	for _, c := range []struct {
		name   string
		cfg    sockeye.Config
		query  string
		header []string
		status int
		want   string // "Name: value" lines of the answer, "-Name" for none, anything else in the body
	}{
		{"no cookie", sockeye.Config{}, polling, nil, 200, "-Set-Cookie"},
		{"cookie", cookie(http.Cookie{Name: "io", Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}), polling, nil, 200, "Set-Cookie: io=fixed; Path=/; HttpOnly; SameSite=Lax"},
		{"cookie without path", cookie(http.Cookie{Name: "woot"}), polling, nil, 200, "Set-Cookie: woot=fixed"},
		{"cookie with path", cookie(http.Cookie{Name: "io", Path: "/custom"}), polling, nil, 200, "Set-Cookie: io=fixed; Path=/custom"},
		{"cookie, strict", cookie(http.Cookie{Name: "io", SameSite: http.SameSiteStrictMode}), polling, nil, 200, "Set-Cookie: io=fixed; SameSite=Strict"},
		{"own ID", sockeye.Config{GenerateID: fixedID}, polling, nil, 200, `"sid":"fixed"`},
		{"no ID", sockeye.Config{GenerateID: func(*sockeye.Request) string { return "" }}, polling, nil, 400, `{"code":3,"message":"Bad request"}`},
		{"timeouts", sockeye.Config{PingInterval: 300e6, PingTimeout: 200e6}, polling, nil, 200, `"pingInterval":300,"pingTimeout":200`},
		{"limit", sockeye.Config{MaxPayload: 77}, polling, nil, 200, `"maxPayload":77`},
		{"upgrades", sockeye.Config{}, polling, nil, 200, `"upgrades":["websocket"]`},
		{"polling only", sockeye.Config{Transports: []string{"polling"}}, polling, nil, 200, `"upgrades":[]`},
		{"no upgrades", sockeye.Config{NoUpgrades: true}, polling, nil, 200, `"upgrades":[]`},
		{"websocket only", sockeye.Config{Transports: []string{"websocket"}}, polling, nil, 400, `{"code":0,"message":"Transport unknown"}`},
		{"constructor", sockeye.Config{}, "transport=constructor", nil, 400, `"code":0`},
		{"__proto__", sockeye.Config{}, "transport=__proto__", nil, 400, `"code":0`},
		{"no upgrade header", sockeye.Config{}, websocket, nil, 400, `"code":3`},
		{"unknown session", sockeye.Config{}, polling + "&sid=nope", nil, 400, `{"code":1,"message":"Session ID unknown"}`},
		{"any data in the query", sockeye.Config{}, polling + "&a=b&__proto__=x&%F0%9F%91%8B=%20", nil, 200, `0{`},
		{"cache", sockeye.Config{}, polling, nil, 200, "Cache-Control: no-store"},
		{"no CORS", sockeye.Config{}, polling, []string{"Origin", "https://a.example"}, 403, "-Access-Control-Allow-Origin"},
		{"CORS", sockeye.Config{Origins: []string{"https://a.example"}, Credentials: true}, polling, []string{"Origin", "https://a.example"}, 200, "Access-Control-Allow-Origin: https://a.example\nAccess-Control-Allow-Credentials: true\nVary: Origin"},
		{"CORS, other origin", sockeye.Config{Origins: []string{"https://a.example"}}, polling, []string{"Origin", "https://b.example"}, 403, "-Access-Control-Allow-Origin\nVary: Origin"},
		{"CORS, any origin", sockeye.Config{Origins: []string{"*"}}, polling, []string{"Origin", "https://b.example"}, 200, "Access-Control-Allow-Origin: *"},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr, _ := serve(t, c.cfg, nil)
			resp, body := fetch(t, "http://"+addr+"/socket.io/?EIO=4&"+c.query, c.header...)
			if resp.StatusCode != c.status {
				t.Errorf("%d %q", resp.StatusCode, body)
			}
			for want := range strings.SplitSeq(c.want, "\n") {
				name, value, isHeader := strings.Cut(want, ": ")
				switch {
				case strings.HasPrefix(want, "-"):
					if got := resp.Header.Get(want[1:]); got != "" {
						t.Errorf("%s: %q", want[1:], got)
					}
				case isHeader:
					if got := resp.Header.Get(name); got != value {
						t.Errorf("%s: %q, want %q", name, got, value)
					}
				case !strings.Contains(body, want):
					t.Errorf("%q has no %q", body, want)
				}
			}
		})
	}
}

func fixedID(*sockeye.Request) string { return "fixed" }

// TestRemoteAddress: of a poll and of a WebSocket.
func TestRemoteAddress(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, nil)
	wiretest.ConnectPoll(t, addr)
	wiretest.Connect(t, addr)
	for _, s := range srv.Sockets() {
		if got := s.Handshake().Address; got != "127.0.0.1" {
			t.Errorf("%s: %q", s.Transport(), got)
		}
	}
}
