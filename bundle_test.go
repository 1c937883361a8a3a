package sockeye_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/fstest"

	sockeye "github.com/sockeye-io/sockeye"
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
