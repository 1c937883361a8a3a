package netpoll

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"testing"
)

// TestFallbackDrain: content that the handler leaves is read up to a bound, so
// that the connection can be kept.
func TestFallbackDrain(t *testing.T) {
	const bound = maxDrainBytes
	for _, c := range []struct {
		name      string
		field     string
		sent      int64 // by the peer
		read      int   // by the handler
		early     bool  // the handler flushes
		keepAlive bool
		announced bool // Connection: close
	}{
		{"small", "Content-Length: 1000", 1000, 0, false, true, false},
		{"small, flushed", "Content-Length: 1000", 1000, 0, true, true, false},
		{"partly read", "Content-Length: 1000", 1000, 10, false, true, false},
		{"read whole", "Content-Length: 1000", 1000, 1000, false, true, false},
		{"at the bound", fmt.Sprintf("Content-Length: %d", bound), bound, 0, false, true, false},
		{"beyond the bound", fmt.Sprintf("Content-Length: %d", bound+1), bound + 1, 0, false, false, true},
		{"beyond the bound, flushed", fmt.Sprintf("Content-Length: %d", bound+1), bound + 1, 0, true, false, true},
		{"read down to the bound", fmt.Sprintf("Content-Length: %d", bound+9), bound + 9, 9, false, true, false},
		{"chunked", "Transfer-Encoding: chunked", 1000, 0, false, true, false},
		{"chunked, beyond the bound", "Transfer-Encoding: chunked", 2 * bound, 0, false, false, true},
		{"chunked, beyond the bound, flushed", "Transfer-Encoding: chunked", 2 * bound, 0, true, false, false},
		{"shorter than declared", "Content-Length: 1000", 999, 0, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := &countingReader{r: io.LimitReader(zeros{}, c.sent), short: c.name == "shorter than declared"}
			f := serveBody(t, "POST / HTTP/1.1\r\nHost: a\r\n"+c.field+"\r\n\r\n", body, func(w http.ResponseWriter, req *http.Request) {
				if _, err := io.ReadFull(req.Body, make([]byte, c.read)); err != nil {
					t.Error(err)
				}
				if c.early {
					w.(http.Flusher).Flush()
				}
			})
			if f.keepAlive != c.keepAlive {
				t.Errorf("keep alive %v, want %v", f.keepAlive, c.keepAlive)
			}
			if announced := strings.Contains(f.output(), "Connection: close\r\n"); announced != c.announced {
				t.Errorf("close announced %v, want %v", announced, c.announced)
			}
			if body.n > int64(c.read)+bound+8<<10 {
				t.Errorf("%d bytes drained", body.n)
			}
			if c.keepAlive && body.n != c.sent {
				t.Errorf("%d bytes of %d read, and the connection is kept", body.n, c.sent)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

type countingReader struct {
	r     io.Reader
	n     int64
	short bool // the end is not the content's
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if err == io.EOF && c.short {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// TestFallbackContinue: RFC 9110 section 10.1.1.
func TestFallbackContinue(t *testing.T) {
	const head = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
	f := serveRaw(t, head+"ping", func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if string(body) != "ping" || err != nil {
			t.Errorf("content %q, %v", body, err)
		}
		w.WriteHeader(201)
	})
	if !strings.HasPrefix(f.output(), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n") || !f.keepAlive {
		t.Errorf("read: %q, keep alive %v", f.output(), f.keepAlive)
	}
	if n := strings.Count(f.output(), "100 Continue"); n != 1 {
		t.Errorf("100 Continue %d times", n)
	}

	// The peer holds its content back, and may send it or not.
	f = serveBody(t, head, failingReader{t}, func(w http.ResponseWriter, req *http.Request) { w.WriteHeader(401) })
	if res, _ := f.response("POST"); res.StatusCode != 401 || !res.Close {
		t.Errorf("not read: %q", f.output())
	}

	f = serveBody(t, head, failingReader{t}, func(w http.ResponseWriter, req *http.Request) {
		w.(http.Flusher).Flush()
		if n, err := req.Body.Read(make([]byte, 9)); n != 0 || err == nil {
			t.Errorf("read after the response began: %d, %v", n, err)
		}
	})
	if strings.Contains(f.output(), "100 Continue") || f.keepAlive {
		t.Errorf("read too late: %q, keep alive %v", f.output(), f.keepAlive)
	}

	f = serveRaw(t, head+"ping", func(w http.ResponseWriter, req *http.Request) {
		w.WriteHeader(100)
		w.WriteHeader(202)
		_, _ = io.Copy(w, req.Body)
	})
	if !strings.HasPrefix(f.output(), "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 ") || !strings.HasSuffix(f.output(), "\r\nping") {
		t.Errorf("by WriteHeader: %q", f.output())
	}

	f = serveRaw(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nping", func(w http.ResponseWriter, req *http.Request) {
		_, _ = io.ReadAll(req.Body)
	})
	if strings.Contains(f.output(), "100 Continue") {
		t.Errorf("not asked for: %q", f.output())
	}
}

type failingReader struct{ t *testing.T }

func (r failingReader) Read([]byte) (int, error) {
	r.t.Error("content is read that the peer did not send")
	return 0, io.ErrUnexpectedEOF
}

// TestFallbackBodyAfter: the content is not the handler's any more when it has
// returned.
func TestFallbackBodyAfter(t *testing.T) {
	var kept io.ReadCloser
	serveRaw(t, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nping", func(w http.ResponseWriter, req *http.Request) {
		kept = req.Body
		b := make([]byte, 9)
		if n, err := kept.Read(b); n != 4 || (err != nil && err != io.EOF) {
			t.Errorf("read: %d, %v", n, err)
		}
		if n, err := kept.Read(b); n != 0 || err != io.EOF {
			t.Errorf("at the end: %d, %v", n, err)
		}
		_ = kept.Close()
		if _, err := kept.Read(b); !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("after Close: %v", err)
		}
	})
	if _, err := kept.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
		t.Errorf("after the handler: %v", err)
	}
}

// TestFallbackMultipart: files of a form do not outlive the request.
func TestFallbackMultipart(t *testing.T) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("f", "a.txt")
	if err != nil {
		t.Fatal(err)
	}
	_, _ = part.Write(make([]byte, 1000))
	_ = form.Close()
	var name string
	raw := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", form.FormDataContentType(), body.Len())
	serveBody(t, raw, &body, func(w http.ResponseWriter, req *http.Request) {
		if err := req.ParseMultipartForm(0); err != nil {
			t.Fatal(err)
		}
		file, err := req.MultipartForm.File["f"][0].Open()
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		name = file.(*os.File).Name()
	})
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v", name, err)
	}
}

// TestFallbackDuplex: a handler may read and write at the same time.
func TestFallbackDuplex(t *testing.T) {
	pr, pw := io.Pipe()
	f := make(chan fallback)
	out := make(chan string)
	go func() {
		f <- serveBody(t, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n", pr, func(w http.ResponseWriter, req *http.Request) {
			if err := http.NewResponseController(w).EnableFullDuplex(); err != nil {
				t.Error(err)
			}
			lines := make(chan string)
			go func() {
				defer close(lines)
				in := bufio.NewScanner(req.Body)
				for in.Scan() {
					lines <- in.Text()
				}
			}()
			for line := range lines {
				_, _ = io.WriteString(w, strings.ToUpper(line))
				w.(http.Flusher).Flush()
				out <- line
			}
		})
	}()
	for _, line := range []string{"one", "two", "three"} {
		if _, err := io.WriteString(pw, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if got := <-out; got != line {
			t.Errorf("got %q, want %q", got, line)
		}
	}
	_ = pw.Close()
	res := <-f
	if !strings.HasSuffix(res.output(), "\r\n3\r\nONE\r\n3\r\nTWO\r\n5\r\nTHREE\r\n0\r\n\r\n") || !res.keepAlive {
		t.Errorf("%q, keep alive %v", res.output(), res.keepAlive)
	}
}
