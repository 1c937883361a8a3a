package bench

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/proto/http1"
)

// A long poll as Chrome sends it: 12 fields.
const pollingGET = "GET /socket.io/?EIO=4&transport=polling&t=PQrs7xY&sid=Xq3J0cEwGmWkQ2mFAAAB HTTP/1.1\r\n" +
	"Host: chat.example.com\r\n" +
	"Connection: keep-alive\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n" +
	"Accept: */*\r\n" +
	"Origin: https://chat.example.com\r\n" +
	"Sec-Fetch-Site: same-origin\r\n" +
	"Sec-Fetch-Mode: cors\r\n" +
	"Sec-Fetch-Dest: empty\r\n" +
	"Referer: https://chat.example.com/rooms/42\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9\r\n" +
	"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\n" +
	"\r\n"

// What a load generator sends.
const shortGET = "GET /socket.io/?EIO=4&transport=polling&sid=Xq3J0cEwGmWkQ2mFAAAB HTTP/1.1\r\nHost: 127.0.0.1:3000\r\n\r\n"

func BenchmarkHTTPRequestHead(b *testing.B) {
	for _, c := range []struct{ name, head string }{{"browser", pollingGET}, {"short", shortGET}} {
		head := []byte(c.head)
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(head)))
			var r http1.Request
			for b.Loop() {
				if n, err := r.ParseHead(head, http1.DefaultHeadLimits); n != len(head) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
		b.Run(c.name+"/net-http", func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(head)))
			src := bytes.NewReader(head)
			in := bufio.NewReader(src)
			for b.Loop() {
				src.Reset(head)
				in.Reset(src)
				if _, err := http.ReadRequest(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkHTTPRequestHeader(b *testing.B) {
	var r http1.Request
	if _, err := r.ParseHead([]byte(pollingGET), http1.DefaultHeadLimits); err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"Host", "Cookie", "X-None"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r.Header(name)
			}
		})
	}
}

func BenchmarkHTTPRequestClone(b *testing.B) {
	var r http1.Request
	if _, err := r.ParseHead([]byte(pollingGET), http1.DefaultHeadLimits); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		r.Clone()
	}
}

// BenchmarkHTTPChunked includes the copy of the content that ParseRequest makes.
func BenchmarkHTTPChunked(b *testing.B) {
	const head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
	for _, c := range []struct{ name, body string }{
		{"16 B chunks", strings.Repeat("10\r\n0123456789abcdef\r\n", 1000) + "0\r\n\r\n"},
		{"4 KiB chunks", strings.Repeat("1000\r\n"+strings.Repeat("x", 4096)+"\r\n", 16) + "0\r\n\r\n"},
	} {
		b.Run(c.name, func(b *testing.B) {
			stream := []byte(head + c.body)
			b.SetBytes(int64(len(stream)))
			for b.Loop() {
				if _, n, err := http1.ParseRequest(stream); n != len(stream) || err != nil {
					b.Fatal(n, err)
				}
			}
		})
	}
}

func BenchmarkHTTPResponseHead(b *testing.B) {
	dst := make([]byte, 0, 512)
	extra := []byte("Access-Control-Allow-Origin: https://chat.example.com\r\nVary: Origin\r\n")
	b.ReportAllocs()
	for b.Loop() {
		dst = http1.AppendResponseHead(dst[:0], 200, "text/plain; charset=UTF-8", 1234, true, extra)
	}
}
