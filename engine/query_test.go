package engine

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/sockeye-io/sockeye/internal/wiretest"
	"github.com/sockeye-io/sockeye/netpoll"
	"github.com/sockeye-io/sockeye/netpoll/netpolltest"
)

func TestParseQuery(t *testing.T) {
	for raw, want := range map[string]string{
		"":                                       "   ",
		"EIO=4&transport=polling&sid=abc":        "4 polling abc ",
		"sid=id%3Aa%2fb%2Bc%3D1":                 "  id:a/b+c=1 ",
		"sid=a+b":                                "  a b ",
		"s%69d=a&%45IO=3&trans%70ort=websocket":  "3 websocket a ",
		"sid=%&EIO=%4&transport=%zz":             "%4 %zz % ",
		"sid=100%25":                             "  100% ",
		"j=%31&sid=%C3%A9%00":                    "  é\x00 1",
		"sid=a&sid=b":                            "  b ",
		"&&=&sid&sid==x&unknown=%73%69%64&x%26y": "  =x ",
	} {
		q := parseQuery([]byte(raw))
		if got := fmt.Sprintf("%s %s %s %s", q.eio, q.transport, q.sid, q.jsonp); got != want {
			t.Errorf("%s: %q, want %q", raw, got, want)
		}
	}
	raw := []byte("EIO=4&transport=polling&t=PQrs7xY&sid=Xq3J0cEwGmWkQ2mFAAAB")
	if n := testing.AllocsPerRun(100, func() { parseQuery(raw) }); n != 0 {
		t.Errorf("%v allocations for a query without an encoding", n)
	}
}

// echoHandler sends each message back.
type echoHandler struct{ benchHandler }

func (h *echoHandler) OnMessage(s *Session, data []byte, binary bool) {
	m := message(binary, data)
	s.Send(m)
	m.Release()
}

// TestGenerateIDWithAnyCharacter: clients encode the sid in their queries.
func TestGenerateIDWithAnyCharacter(t *testing.T) {
	for _, id := range []string{"id:a/b+c=1", "a b%20&c", "é😀", `"quoted\`} {
		h := new(echoHandler)
		e := mustNew(Config{GenerateID: func(*Request) string { return id }, Cookie: &http.Cookie{Name: "io"}}, h)
		n := netpolltest.New(netpoll.Config{}, Mux{e}, 2)
		exchange := func(p *netpolltest.Peer, request string) string {
			p.Write([]byte(request))
			n.Run()
			return string(p.Read())
		}
		const host = " HTTP/1.1\r\nHost: h\r\n"
		const upgrade = host + "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
		sid := "&sid=" + url.QueryEscape(id)
		a, b := n.Dial(0), n.Dial(1)
		if got := exchange(a, "GET /engine.io/?EIO=4&transport=polling"+host+"\r\n"); !strings.Contains(got, "Set-Cookie: io="+strings.ReplaceAll(url.QueryEscape(id), "+", "%20")+"\r\n") {
			t.Errorf("%q: handshake %q", id, got)
		}
		if got := exchange(b, "POST /engine.io/?EIO=4&transport=polling"+sid+host+"Content-Length: 6\r\n\r\n4hello"); !strings.HasSuffix(got, "\r\n\r\nok") {
			t.Errorf("%q: POST %q", id, got)
		}
		if got := exchange(a, "GET /engine.io/?EIO=4&transport=polling"+sid+host+"\r\n"); !strings.HasSuffix(got, "\r\n\r\n4hello") {
			t.Errorf("%q: poll %q", id, got)
		}
		w := n.Dial(1)
		if got := exchange(w, "GET /engine.io/?EIO=4&transport=websocket"+sid+upgrade); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
			t.Fatalf("%q: upgrade %q", id, got)
		}
		exchange(w, string(maskedText(t, "2probe"))+string(maskedText(t, "5")))
		f, err := wiretest.ReadFrame(bytes.NewBufferString(exchange(w, string(maskedText(t, "4over")))))
		if err != nil || f.Header.OpCode != ws.OpText || string(f.Payload) != "4over" {
			t.Errorf("%q: after the upgrade %q, %v", id, f.Payload, err)
		}
		w.Close()
		n.Run()
		w = n.Dial(0)
		if got := exchange(w, "GET /engine.io/?EIO=4&transport=websocket"+upgrade); !strings.HasPrefix(got, "HTTP/1.1 101 ") {
			t.Errorf("%q: websocket %q", id, got)
		}
	}
}
