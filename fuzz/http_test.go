package fuzz

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/internal/vectors"

	"github.com/sockeye-io/sockeye/proto/http1"
)

// FuzzHTTPRequest: a stream gives the same request however it is cut, and what
// is accepted means the same to net/http, with the differences that
// differsFromNetHTTP lists.
func FuzzHTTPRequest(f *testing.F) {
	cases := vectors.Load(f, "../proto/http1/testdata/http", vectors.HTTP)
	for _, c := range cases {
		f.Add(c.Input, uint16(len(c.Input)/2))
	}
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		r, n, err := http1.ParseRequest(b)
		want := result{r, n, err}
		check := func(how string, pieces ...[]byte) {
			t.Helper()
			r, n, err := http1.ParseRequest(pieces...)
			if diff := want.diff(result{r, n, err}); diff != "" {
				t.Fatalf("%s: %s", how, diff)
			}
		}
		at := min(int(cut), len(b))
		check("cut in two", b[:at], b[at:])
		check("cut in three", b[:at/2], b[at/2:at], b[at:])
		if len(b) <= 512 {
			check("byte by byte", slices.Collect(slices.Chunk(b, 1))...)
		}
		if n == 0 {
			return
		}
		check("without what follows", b[:n:n])
		if r, m, err := http1.ParseRequest(b[: n-1 : n-1]); r != nil || m != 0 || err != nil {
			t.Fatalf("without its last byte: %v, %d, %v; want that more is needed", r, m, err)
		}
		if again := http1.ExpandRequest(string(r.AppendCompact(nil))); !bytes.Equal(again.Target, r.Target) || !slices.Equal(fields(again), fields(r)) {
			t.Fatalf("kept in compact form, %v became %v", fields(r), fields(again))
		}
		checkRequest(t, r)
		checkNetHTTP(t, r, b[:n])
	})
}

// fields are the header fields of a request.
func fields(r *http1.Request) (all []string) {
	r.EachHeader(func(name, value []byte) { all = append(all, string(name)+":"+string(value)) })
	return all
}

type result struct {
	r   *http1.Request
	n   int
	err error
}

func (want result) diff(got result) string {
	switch {
	case got.n != want.n || (got.r == nil) != (want.r == nil):
		return "another length"
	case (got.err == nil) != (want.err == nil):
		return "another verdict"
	case want.err != nil && got.err.Error() != want.err.Error():
		return got.err.Error() + ", not " + want.err.Error()
	case want.r == nil:
		return ""
	}
	a, b := got.r, want.r
	switch {
	case !bytes.Equal(a.Method, b.Method), !bytes.Equal(a.Target, b.Target), !bytes.Equal(a.Host, b.Host),
		!bytes.Equal(a.Path, b.Path), !bytes.Equal(a.RawQuery, b.RawQuery):
		return "another request line"
	case a.ContentLength != b.ContentLength || a.Chunked != b.Chunked || !bytes.Equal(a.Body, b.Body):
		return "other content"
	case a.Minor != b.Minor || a.KeepAlive != b.KeepAlive || a.Expect100 != b.Expect100 || a.UpgradeWebSocket != b.UpgradeWebSocket:
		return "other facts"
	case headerText(a) != headerText(b):
		return "other fields"
	}
	return ""
}

func headerText(r *http1.Request) string {
	var s strings.Builder
	r.EachHeader(func(name, value []byte) {
		s.Write(name)
		s.WriteByte(':')
		s.Write(value)
		s.WriteByte('\n')
	})
	return s.String()
}

// checkRequest: what an accepted request can be relied on for.
func checkRequest(t *testing.T, r *http1.Request) {
	for _, c := range r.Target {
		if c <= ' ' || c == 0x7f || c == '#' {
			t.Fatalf("a target with %q: %q", c, r.Target)
		}
	}
	if r.Minor == 1 && (r.HeaderCount("Host") != 1 || len(r.Host) == 0) {
		t.Fatalf("%d Host fields, host %q", r.HeaderCount("Host"), r.Host)
	}
	if r.HeaderCount("Content-Length")+r.HeaderCount("Transfer-Encoding") > 1 {
		t.Fatal("content framed twice")
	}
	if bytes.ContainsAny(r.Host, "/?#@\\ \t,<>\"'") {
		t.Fatalf("host %q", r.Host)
	}
	if len(r.Path) == 0 || (r.Path[0] != '/' && string(r.Path) != "*") {
		t.Fatalf("path %q", r.Path)
	}
	r.EachHeader(func(name, value []byte) {
		if len(name) == 0 || bytes.ContainsAny(name, " \t:") || bytes.ContainsAny(value, "\r\n\x00") {
			t.Fatalf("field %q: %q", name, value)
		}
		if r.Header(string(name)) == nil {
			t.Fatalf("field %q is not found", name)
		}
	})
}

// checkNetHTTP compares r with what net/http reads from the same bytes.
func checkNetHTTP(t *testing.T, r *http1.Request, b []byte) {
	if why := differsFromNetHTTP(r); why != "" {
		return
	}
	in := bufio.NewReaderSize(bytes.NewReader(bytes.TrimPrefix(b, []byte("\r\n"))), len(b)+16)
	req, err := http.ReadRequest(in)
	if err != nil {
		t.Fatalf("net/http refuses the head: %v", err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		if r.Chunked && refusesChunks(err) {
			return
		}
		t.Fatalf("net/http refuses the content: %v", err)
	}
	if in.Buffered() > 0 {
		t.Fatalf("net/http leaves %d bytes", in.Buffered())
	}
	if req.Method != string(r.Method) || req.RequestURI != string(r.Target) || req.ProtoMinor != r.Minor || req.Host != string(r.Host) {
		t.Fatalf("net/http: %s %s 1.%d for %s", req.Method, req.RequestURI, req.ProtoMinor, req.Host)
	}
	if req.ContentLength != r.ContentLength || (req.TransferEncoding != nil) != r.Chunked || !bytes.Equal(body, r.Body) {
		t.Fatalf("net/http: length %d, codings %q, content %q; ours: length %d, chunked %v, content %q",
			req.ContentLength, req.TransferEncoding, body, r.ContentLength, r.Chunked, r.Body)
	}
	if req.URL.RawQuery != string(r.RawQuery) {
		t.Fatalf("net/http: query %q, ours %q", req.URL.RawQuery, r.RawQuery)
	}
	if req.Close == r.KeepAlive {
		t.Fatalf("net/http: close %v, ours: keep alive %v", req.Close, r.KeepAlive)
	}
	header := make(http.Header)
	r.EachHeader(func(name, value []byte) {
		header.Add(string(name), string(value))
	})
	for _, name := range []string{"Host", "Transfer-Encoding", "Trailer"} {
		header.Del(name)
	}
	if v := header["Pragma"]; len(v) > 0 && v[0] == "no-cache" && header["Cache-Control"] == nil {
		header["Cache-Control"] = []string{"no-cache"}
	}
	for name, want := range header {
		if !slices.Equal(req.Header[name], want) {
			t.Fatalf("net/http: %s: %q, ours %q", name, req.Header[name], want)
		}
	}
	if len(req.Header) != len(header) {
		t.Fatalf("net/http: fields %v, ours %v", req.Header, header)
	}
}

// differsFromNetHTTP tells why net/http may refuse a request that is accepted
// here, "" if it may not.
func differsFromNetHTTP(r *http1.Request) string {
	if _, err := url.ParseRequestURI(string(r.Target)); err != nil {
		var escape url.EscapeError
		var host url.InvalidHostError
		if errors.As(err, &escape) || errors.As(err, &host) || bytes.HasPrefix(bytes.ToLower(r.Target), []byte("http")) {
			return "RFC 9112 does not let a server judge percent-encodings in a target that it does not decode"
		}
	}
	if r.HeaderCount("Trailer") > 0 {
		return "net/http refuses names in Trailer; trailers are thrown away here"
	}
	return ""
}

// refusesChunks tells whether net/http refuses content for a reason that does
// not hold here.
func refusesChunks(err error) bool {
	for _, reason := range []string{
		"invalid byte in chunk length",                // BWS before an extension, RFC 9112 section 7.1.1
		"header line too long",                        // 4,096 bytes of size line; here of all extensions
		"chunked encoding contains too much non-data", // extensions and trailers; here each has a limit
		"suspiciously long trailer after chunked body",
	} {
		if strings.Contains(err.Error(), reason) {
			return true
		}
	}
	return false
}
