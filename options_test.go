package sockeye_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/wire"
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
	wire.Connect(t, addr)
}

func TestPaths(t *testing.T) {
	for _, c := range []struct {
		cfg    engine.Config
		yes    string
		no     string
		listed string
	}{
		{engine.Config{}, "/socket.io/?", "/socket.io?", "/socket.io/"},
		{engine.Config{Path: "chat"}, "/chat/?", "/socket.io/?", "/chat/"},
		{engine.Config{Path: "/a/b/"}, "/a/b/?", "/a/?", "/a/b/"},
		{engine.Config{Path: "/x/", NoTrailingSlash: true}, "/x?", "/?", "/x"},
		{engine.Config{NoTrailingSlash: true}, "/socket.io/?", "/socket?", "/socket.io"},
	} {
		addr, srv := serve(t, sockeye.Config{Engine: c.cfg}, nil)
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
	addr, srv := serve(t, sockeye.Config{Engine: engine.Config{
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
		AllowRequest: func(r *engine.Request) error {
			if r.Context().Value(key{}) == "mallory" {
				return errors.New("not you")
			}
			return nil
		},
		Headers: func(h http.Header, r *engine.Request, initial bool) {
			h.Set("X-Initial", fmt.Sprint(initial))
			h.Set("X-Split", "a\r\nX-Injected: b")
		},
		OnRefused: func(r *engine.Request, code int, message string) {
			refused <- fmt.Sprint(r.Method(), code, message)
		},
	}}, nil)
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
	wire.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket&user=bob").Expect("0{*")
}
