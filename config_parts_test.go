package sockeye_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestConfigurationFaults are all found at once, with what to do.
func TestConfigurationFaults(t *testing.T) {
	_, err := sockeye.New(sockeye.Config{
		ConnectTimeout: 45, AckTimeout: -1, MailboxEvents: -1, MaxJSONDepth: 1000,
		Recovery: &sockeye.Recovery{MaxBytes: -1}, Engines: []*engine.Engine{nil},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"ConnectTimeout is 45 nanoseconds; has a unit been forgotten?", "AckTimeout", "MailboxEvents is -1", "MaxJSONDepth", "Recovery", "Config.Engines has nil at 0"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %q", want, err)
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
