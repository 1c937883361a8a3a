package ws

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/sockeye-io/sockeye/proto/http1"
)

const upgradeGET = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\n" +
	"Host: chat.example.com\r\n" +
	"Connection: keep-alive, Upgrade\r\n" +
	"Upgrade: websocket\r\n" +
	"Origin: https://chat.example.com\r\n" +
	"Sec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n" +
	"\r\n"

func checkRequest(r *http1.Request) *Refusal {
	return Handshake{r.Method, r.Minor, r.UpgradeWebSocket, r.ContentLength != 0, r}.Check()
}

func parseUpgrade(t testing.TB, head string) *http1.Request {
	t.Helper()
	r := new(http1.Request)
	if n, err := r.ParseHead([]byte(head), http1.DefaultHeadLimits); n == 0 || err != nil {
		t.Fatalf("%q: n = %d, %v", head, n, err)
	}
	return r
}

// TestCheckUpgrade: RFC 6455 section 4.2.1, each of what a handshake must have.
func TestCheckUpgrade(t *testing.T) {
	const version, key = "Sec-WebSocket-Version: 13\r\n", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	for _, c := range []struct {
		name, old, new string
		want           *Refusal
	}{
		{"as it should be", "", "", nil},
		{"names in any case", "Sec-WebSocket-Key", "sec-websocket-key", nil},
		{"white space", "Version: 13", "Version:  13\t", nil},
		{"Connection and Upgrade in any case", "Upgrade\r\nUpgrade: websocket", "uPGRADE\r\nUpgrade: WebSocket", nil},
		{"Content-Length: 0", version, version + "Content-Length: 0\r\n", nil},
		{"1: POST", "GET", "POST", errUpgradeMethod},
		{"1: HEAD", "GET", "HEAD", errUpgradeMethod},
		{"1: HTTP/1.0", "HTTP/1.1", "HTTP/1.0", errUpgradeHTTP},
		{"2: no Host in HTTP/1.0", "HTTP/1.1\r\nHost: chat.example.com", "HTTP/1.0", errUpgradeHTTP},
		{"3: no Upgrade", "Upgrade: websocket\r\n", "", errUpgradeTokens},
		{"3: another Upgrade", "Upgrade: websocket\r\n", "Upgrade: h2c\r\n", errUpgradeTokens},
		{"4: no Connection", "Connection: keep-alive, Upgrade\r\n", "", errUpgradeTokens},
		{"4: Connection without Upgrade", ", Upgrade", "", errUpgradeTokens},
		{"5: no key", key, "", errUpgradeKeys},
		{"5: two keys", key, key + key, errUpgradeKeys},
		{"5: an empty key", "dGhlIHNhbXBsZSBub25jZQ==", "", errUpgradeKey},
		{"5: 15 bytes", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j", errUpgradeKey},
		{"5: 17 bytes", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZSE=", errUpgradeKey},
		{"5: 18 bytes", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZSEh", errUpgradeKey},
		{"5: not base64", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25!ZQ==", errUpgradeKey},
		{"5: base64url", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j_Q==", errUpgradeKey},
		{"5: without padding", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ", errUpgradeKey},
		{"5: bits behind the last byte", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZR==", errUpgradeKey},
		{"5: white space inside", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBs ZSBub25jZQ=", errUpgradeKey},
		{"6: no version", version, "", errUpgradeVersion},
		{"6: version 8", "Version: 13", "Version: 8", errUpgradeVersion},
		{"6: version 013", "Version: 13", "Version: 013", errUpgradeVersion},
		{"6: a list", "Version: 13", "Version: 13, 8", errUpgradeVersion},
		{"11.3.5: two versions", version, version + version, errUpgradeMany},
		{"content", version, version + "Content-Length: 3\r\n", errUpgradeContent},
		{"chunks", version, version + "Transfer-Encoding: chunked\r\n", errUpgradeContent},
	} {
		head := upgradeGET
		if c.old != "" {
			head = strings.Replace(upgradeGET, c.old, c.new, 1)
			if head == upgradeGET {
				t.Fatalf("%s: %q is not in the request", c.name, c.old)
			}
		}
		if err := checkRequest(parseUpgrade(t, head)); err != c.want {
			t.Errorf("%s: %v, want %v", c.name, err, c.want)
		}
	}
}

// TestUpgradeVersionRefused: section 4.2.2, "an appropriate HTTP error code
// (such as 426 Upgrade Required) and a |Sec-WebSocket-Version| header field
// indicating the version(s) the server is capable of understanding".
func TestUpgradeVersionRefused(t *testing.T) {
	b := http1.AppendResponseHead(nil, errUpgradeVersion.Status, "", 0, false, []byte(errUpgradeVersion.Extra))
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != 426 || res.Header.Get("Sec-WebSocket-Version") != "13" || res.Header.Get("Upgrade") != "websocket" {
		t.Errorf("status %d, header %v", res.StatusCode, res.Header)
	}
	if fields := errUpgradeKey.Extra; fields != "" {
		t.Errorf("another error has %q", fields)
	}
}

// TestUpgradeResponse: section 4.2.2, with the example of section 1.3.
func TestUpgradeResponse(t *testing.T) {
	r := parseUpgrade(t, upgradeGET)
	b := Response{Key: r.Header("Sec-WebSocket-Key"), Extra: []byte("X-Extra: 1\r\n")}.Append(nil)
	res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(append(b, "rest"...))), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if !bytes.HasSuffix(b, []byte("\r\n\r\n")) || bytes.Count(b, []byte("\r\n\r\n")) != 1 {
		t.Errorf("response %q", b)
	}
	if res.StatusCode != 101 || len(res.Header) != 4 {
		t.Errorf("status %d, header %v", res.StatusCode, res.Header)
	}
	for name, want := range map[string]string{
		"Upgrade": "websocket", "Connection": "Upgrade", "X-Extra": "1",
		"Sec-Websocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestUpgradeAllocations(t *testing.T) {
	if raceBuild {
		t.Skip("allocations are counted without the race detector")
	}
	r := parseUpgrade(t, upgradeGET)
	room := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() {
		if checkRequest(r) != nil {
			panic("refused")
		}
		Response{Key: r.Header("Sec-WebSocket-Key")}.Append(room)
	}); n != 0 {
		t.Errorf("a handshake allocates %v times", n)
	}
}
