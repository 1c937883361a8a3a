package http1

import (
	"bytes"
	"strings"
)

// A request's head is kept for as long as its session: in a form in which the
// lines that clients commonly send take a byte or two. A byte from 0x80 on
// stands for an entry of compactTable; such a byte of the head itself follows
// an escape.

const compactEscape = 0xff

// compactTable has what lines of a head begin with, and what may follow. An entry
// that another one begins with comes after that one.
var compactTable = []string{
	// A request line ends with " HTTP/1.1"; so does that of the handshake.
	"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n",
	"GET /socket.io/?EIO=4&transport=websocket",
	"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\n",
	"GET /socket.io/?EIO=4&transport=polling&t=",
	"GET /socket.io/?EIO=4&transport=polling",
	"GET /socket.io/?",
	"Host: ",
	"Connection: Upgrade\r\n",
	"Connection: keep-alive\r\n",
	"Connection: close\r\n",
	"Upgrade: websocket\r\n",
	"Sec-WebSocket-Version: 13\r\n",
	"Sec-WebSocket-Key: ",
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
	"Sec-WebSocket-Extensions: ",
	"User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
	"User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
	"User-Agent: Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/",
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
	"User-Agent: Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/",
	"User-Agent: Mozilla/5.0 (iPhone; CPU iPhone OS ",
	"User-Agent: Mozilla/5.0 ",
	"User-Agent: ",
	"Accept: */*\r\n",
	"Accept: ",
	"Accept-Encoding: gzip, deflate, br, zstd\r\n",
	"Accept-Encoding: gzip, deflate, br\r\n",
	"Accept-Encoding: gzip, deflate\r\n",
	"Accept-Encoding: gzip\r\n",
	"Accept-Encoding: ",
	"Accept-Language: en-US,en;q=0.9\r\n",
	"Accept-Language: ",
	"Cache-Control: no-cache\r\n",
	"Pragma: no-cache\r\n",
	"Origin: https://",
	"Origin: http://",
	"Origin: ",
	"Referer: https://",
	"Referer: http://",
	"Cookie: ",
	"Authorization: Bearer ",
	"Authorization: ",
	"Content-type: text/plain;charset=UTF-8\r\n",
	"Content-Length: 0\r\n",
	"Priority: u=1, i\r\n",
	"Sec-Fetch-Dest: empty\r\n",
	"Sec-Fetch-Dest: websocket\r\n",
	"Sec-Fetch-Mode: cors\r\n",
	"Sec-Fetch-Mode: websocket\r\n",
	"Sec-Fetch-Site: same-origin\r\n",
	"Sec-Fetch-Site: same-site\r\n",
	"Sec-Fetch-Site: cross-site\r\n",
	"sec-ch-ua: ",
	"sec-ch-ua-mobile: ?0\r\n",
	"sec-ch-ua-mobile: ?1\r\n",
	"sec-ch-ua-platform: \"Windows\"\r\n",
	"sec-ch-ua-platform: \"macOS\"\r\n",
	"sec-ch-ua-platform: \"Linux\"\r\n",
	"sec-ch-ua-platform: \"Android\"\r\n",
	"X-Forwarded-For: ",
	"X-Forwarded-Proto: https\r\n",
	"X-Forwarded-Host: ",
	"X-Real-IP: ",
	"X-Request-Id: ",

	// As net/http spells them, which has read the requests that are mounted, and some proxies.
	"Sec-Websocket-Version: 13\r\n",
	"Sec-Websocket-Key: ",
	"Sec-Websocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
	"Sec-Websocket-Extensions: ",
	"Content-Type: text/plain;charset=UTF-8\r\n",
	"Sec-Ch-Ua: ",
	"Sec-Ch-Ua-Mobile: ?0\r\n",
	"Sec-Ch-Ua-Mobile: ?1\r\n",
	"Sec-Ch-Ua-Platform: \"Windows\"\r\n",
	"Sec-Ch-Ua-Platform: \"macOS\"\r\n",
	"Sec-Ch-Ua-Platform: \"Linux\"\r\n",
	"Sec-Ch-Ua-Platform: \"Android\"\r\n",
	"X-Real-Ip: ",
}

// compactEntries are the indexes of compactTable by the first byte.
var compactEntries = func() (by [128][]byte) {
	for i, entry := range compactTable {
		by[entry[0]] = append(by[entry[0]], byte(i))
	}
	return by
}()

// AppendCompact appends the head of r in a compact form, for ExpandRequest. The
// body is left out.
func (r *Request) AppendCompact(dst []byte) []byte {
	for rest := r.head; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n') + 1
		dst = appendCompactLine(dst, rest[:i])
		rest = rest[i:]
	}
	return dst
}

func appendCompactLine(dst, line []byte) []byte {
	if line[0] < 128 {
		for _, e := range compactEntries[line[0]] {
			if entry := compactTable[e]; len(line) >= len(entry) && string(line[:len(entry)]) == entry {
				dst = append(dst, 0x80+e)
				line = line[len(entry):]
				break
			}
		}
	}
	for _, c := range line {
		switch {
		case c == '\r': // a line has only the one before its end
		case c >= 0x80:
			dst = append(dst, compactEscape, c)
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// ExpandRequest rebuilds the request of which AppendCompact has made compact.
func ExpandRequest(compact string) *Request {
	var head strings.Builder
	head.Grow(4 * len(compact))
	for i := 0; i < len(compact); i++ {
		switch c := compact[i]; {
		case c == compactEscape:
			i++
			head.WriteByte(compact[i])
		case c >= 0x80:
			head.WriteString(compactTable[c-0x80])
		case c == '\n':
			head.WriteString("\r\n")
		default:
			head.WriteByte(c)
		}
	}
	head.WriteString("\r\n")
	r := new(Request)
	// It has been checked when it came; and limits may have been wider then.
	_, _ = r.ParseHead([]byte(head.String()), HeadLimits{LineBytes: head.Len() + 4, HeadBytes: head.Len() + 4, Fields: head.Len()})
	return r
}
