package netpoll

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// likeNetHTTP are handlers whose responses must be those of net/http.
var likeNetHTTP = map[string]http.HandlerFunc{
	"nothing":     func(http.ResponseWriter, *http.Request) {},
	"text":        func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") },
	"HTML":        func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<!DOCTYPE html><p>") },
	"two writes":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello"); fmt.Fprint(w, "<b>") },
	"empty write": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(nil) },
	"status":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) },
	"unknown status": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(599)
		_, _ = io.WriteString(w, "x")
	},
	"error":        func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) },
	"not found":    http.NotFound,
	"redirect":     func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/b", http.StatusFound) },
	"no content":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
	"not modified": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Etag", `"x"`); w.WriteHeader(304) },
	"status twice": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); w.WriteHeader(500) },
	"content type": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "a/b")
		fmt.Fprint(w, "<p>")
	},
	"no type": func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil; fmt.Fprint(w, "<p>") },
	"encoded": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "x")
		fmt.Fprint(w, "<p>")
	},
	"own length": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3")
		fmt.Fprint(w, "abc")
	},
	"length only": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "0") },
	"fields": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["X-A"] = []string{"1", "2"}
		w.Header().Add("Vary", " a ")
	},
	"field case": func(w http.ResponseWriter, _ *http.Request) { w.Header()["x-aB"] = []string{"1"} },
	"bad field": func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["X Y"] = []string{"1"}
		w.Header()["X:"] = []string{"1"}
	},
	"close": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "close")
		fmt.Fprint(w, "x")
	},
	"late field":   func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(200); w.Header().Set("X-A", "1") },
	"late field 2": func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "x"); w.Header().Set("X-A", "1") },
	"own date":     func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Date", "then") },
	"no date":      func(w http.ResponseWriter, _ *http.Request) { w.Header()["Date"] = nil },
	"2,048 bytes":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 2048)) },
	"5,000 bytes":  func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 5000)) },
	"1 MB at once": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(bytes.Repeat([]byte("0123456789"), 100_000))
	},
	"1 MB in parts": func(w http.ResponseWriter, _ *http.Request) { writeParts(w, 1000) },
	"1 MB, length": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		writeParts(w, 7000)
	},
	"flush": func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() },
	"write+flush": func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<p>")
		w.(http.Flusher).Flush()
		fmt.Fprint(w, "x")
	},
	"flush twice": func(w http.ResponseWriter, _ *http.Request) {
		w.(http.Flusher).Flush()
		w.(http.Flusher).Flush()
		fmt.Fprint(w, "x")
	},
	"204 write": func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(204)
		if _, err := w.Write([]byte("x")); !errors.Is(err, http.ErrBodyNotAllowed) {
			panic(err)
		}
	},
	"too long": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "3")
		fmt.Fprint(w, "ab")
		if _, err := w.Write([]byte("cd")); !errors.Is(err, http.ErrContentLength) {
			panic(err)
		}
		fmt.Fprint(w, "c")
	},
}

func writeParts(w io.Writer, size int) {
	b := bytes.Repeat([]byte("0123456789"), 100_000)
	for len(b) > 0 {
		n, _ := w.Write(b[:min(size, len(b))])
		b = b[n:]
	}
}

// TestFallbackLikeNetHTTP compares responses with those of net/http's server,
// for GET and HEAD, HTTP/1.0 and 1.1, kept and closed connections.
func TestFallbackLikeNetHTTP(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		likeNetHTTP[r.URL.Query().Get("h")](w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	defer server.Close()
	for name, h := range likeNetHTTP {
		for _, method := range []string{"GET", "HEAD", "POST"} {
			for _, form := range []string{"HTTP/1.1\r\nHost: a\r\n", "HTTP/1.1\r\nHost: a\r\nConnection: close\r\n", "HTTP/1.0\r\n", "HTTP/1.0\r\nConnection: keep-alive\r\n"} {
				raw := method + " /?h=" + strings.ReplaceAll(strings.ReplaceAll(name, "+", "%2b"), " ", "+") + " " + form
				if method == "POST" {
					raw += "Content-Length: 2\r\n\r\nhi"
				} else {
					raw += "\r\n"
				}
				want := askNetHTTP(t, server, method, raw)
				f := serveRaw(t, raw, h)
				if f.panicked != nil {
					t.Fatalf("%s: %v\n%s", name, f.panicked, f.stack)
				}
				got := showResponse(t, method, strings.NewReader(f.output()))
				if got != want {
					t.Errorf("%s: %q\ngot:  %s\nwant: %s", name, raw, got, want)
				}
			}
		}
	}
}

func askNetHTTP(t *testing.T, server *httptest.Server, method, raw string) string {
	t.Helper()
	c, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	return showResponse(t, method, c)
}

// showResponse shows what a client can tell of a response, but not how content
// between the two servers' buffer sizes is framed.
func showResponse(t *testing.T, method string, r io.Reader) string {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(r), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	h := res.Header.Clone()
	if date, err := http.ParseTime(h.Get("Date")); err == nil && time.Since(date).Abs() < time.Minute {
		h.Set("Date", "now")
	}
	h.Del("Content-Length") // is res.ContentLength
	if res.Close {
		h.Del("Connection")
	}
	sum := fmt.Sprint(len(body))
	if len(body) < 99 {
		sum = fmt.Sprintf("%q", body)
	}
	return fmt.Sprintf("%d length=%d %v close=%v %v %s %v", res.StatusCode, res.ContentLength, res.TransferEncoding, res.Close, h, sum, err)
}

// TestFallbackFileServer: ranges and conditions.
func TestFallbackFileServer(t *testing.T) {
	changed := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	large := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	files := http.FileServerFS(fstest.MapFS{
		"index.html": {Data: []byte("<!DOCTYPE html>hello"), ModTime: changed},
		"large.bin":  {Data: large, ModTime: changed},
	}).ServeHTTP
	for _, c := range []struct {
		method, path, fields string
		status               int
		body                 string
		header               string // "Name: value"
	}{
		{"GET", "/", "", 200, "<!DOCTYPE html>hello", "Content-Type: text/html; charset=utf-8"},
		{"HEAD", "/", "", 200, "", "Content-Length: 20"},
		{"GET", "/index.html", "", 301, "", "Location: ./"},
		{"GET", "/none", "", 404, "404 page not found\n", "X-Content-Type-Options: nosniff"},
		{"GET", "/large.bin", "", 200, string(large), "Content-Length: 320000"},
		{"GET", "/large.bin", "Range: bytes=0-3\r\n", 206, "0123", "Content-Range: bytes 0-3/320000"},
		{"GET", "/large.bin", "Range: bytes=-5\r\n", 206, "bcdef", "Content-Length: 5"},
		{"GET", "/large.bin", "Range: bytes=999999-\r\n", 416, "invalid range: failed to overlap\n", "Content-Range: bytes */320000"},
		{"HEAD", "/large.bin", "Range: bytes=16-\r\n", 206, "", "Content-Length: 319984"},
		{"GET", "/", "If-Modified-Since: " + changed.Format(http.TimeFormat) + "\r\n", 304, "", "Last-Modified: " + changed.Format(http.TimeFormat)},
		{"GET", "/", "If-None-Match: *\r\n", 304, "", "Last-Modified: " + changed.Format(http.TimeFormat)},
		{"GET", "/../../etc/passwd", "", 404, "404 page not found\n", "Content-Length: 19"},
	} {
		f := serveRaw(t, c.method+" "+c.path+" HTTP/1.1\r\nHost: a\r\n"+c.fields+"\r\n", files)
		res, body := f.response(c.method)
		name, value, _ := strings.Cut(c.header, ": ")
		if res.StatusCode != c.status || body != c.body || res.Header.Get(name) != value || !f.keepAlive {
			t.Errorf("%s %s %q: %d, %d bytes, %v, keep alive %v", c.method, c.path, c.fields, res.StatusCode, len(body), res.Header, f.keepAlive)
		}
	}
	f := serveRaw(t, "GET /large.bin HTTP/1.1\r\nHost: a\r\nRange: bytes=0-0,-1\r\n\r\n", files)
	if res, body := f.response("GET"); res.StatusCode != 206 || !strings.HasPrefix(res.Header.Get("Content-Type"), "multipart/byteranges") || !strings.Contains(body, "bytes 319999-319999/320000") {
		t.Errorf("two ranges: %d, %v", res.StatusCode, res.Header)
	}
}
