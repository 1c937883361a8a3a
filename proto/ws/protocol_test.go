package ws

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"
)

// selectProtocol is the selection from fields, separated by " | ".
func selectProtocol(fields string) ([]byte, *Refusal) {
	var p Protocols
	for value := range strings.SplitSeq(fields, " | ") {
		p.Add([]byte(value))
	}
	return p.Accept()
}

// TestProtocols: RFC 6455 sections 4.1, 4.2.2 and 11.3.4; what is selected and
// refused is what package ws of npm (8.18.3, lib/subprotocol.js) does.
func TestProtocols(t *testing.T) {
	for _, c := range []struct{ fields, want string }{ // "400": refused
		{"chat", "chat"},
		{"chat, superchat", "chat"},
		{"superchat,chat", "superchat"},
		{"chat ,\tsuperchat", "chat"},
		{"  chat\t", "chat"},
		{"app.v1", "app.v1"},
		{"!#$%&'*+-.^_`|~09azAZ", "!#$%&'*+-.^_`|~09azAZ"},
		{"chat, Chat", "chat"}, // they are compared as they are
		{"chat | superchat", "chat"},
		{"a, b | c, d", "a"},
		{"", "400"},
		{" \t", "400"},
		{",", "400"},
		{",chat", "400"},
		{"chat,", "400"},
		{"chat, ", "400"},
		{"chat,,superchat", "400"},
		{"chat superchat", "400"},
		{"chat;superchat", "400"},
		{`"chat"`, "400"},
		{"chat/1", "400"},
		{"chat, b@d", "400"},
		{"ch\u00e4t", "400"},
		{"chat\r\nX: y", "400"},
		{"chat, chat", "400"},
		{"chat, superchat, chat", "400"},
		{"chat | chat", "400"},
		{"chat | ", "400"},
		{" | chat", "400"},
		{"chat | b d | x", "400"},
	} {
		got, err := selectProtocol(c.fields)
		if (err != nil) != (c.want == "400") || err != nil && (err != errUpgradeProtocols || got != nil) || err == nil && string(got) != c.want {
			t.Errorf("%q: %q, %v, want %s", c.fields, got, err, c.want)
		}
	}
	if got, err := new(Protocols).Accept(); got != nil || err != nil {
		t.Errorf("without the field: %q, %v", got, err)
	}
	var many []byte
	for i := range maxProtocols {
		many = append(many, byte('A'+i%26), byte('a'+i/26), ',')
	}
	if got, err := selectProtocol(string(many) + "z"); err != errUpgradeProtocols {
		t.Errorf("%d names: %q, %v", maxProtocols+1, got, err)
	}
	if got, err := selectProtocol(string(many[:len(many)-1])); string(got) != "Aa" || err != nil {
		t.Errorf("%d names: %q, %v", maxProtocols, got, err)
	}
}

// TestProtocolResponse: section 4.2.2, the response has the field with the one
// value, or does not have it.
func TestProtocolResponse(t *testing.T) {
	for _, protocol := range []string{"", "app.v1"} {
		b := Response{
			Key: []byte("dGhlIHNhbXBsZSBub25jZQ=="), Protocol: []byte(protocol),
			Extensions: acceptDeflate, Extra: []byte("X-Extra: 1\r\n"),
		}.Append([]byte("before"))
		b, ok := bytes.CutPrefix(b, []byte("before"))
		res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
		if err != nil || !ok {
			t.Fatal(err)
		}
		defer res.Body.Close()
		got, has := res.Header["Sec-Websocket-Protocol"]
		if has != (protocol != "") || has && (len(got) != 1 || got[0] != protocol) {
			t.Errorf("%q: %q", protocol, got)
		}
		if res.Header.Get("X-Extra") != "1" || res.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Errorf("%v", res.Header)
		}
	}
}

func TestProtocolAllocs(t *testing.T) {
	if raceBuild {
		t.Skip("allocations are counted without the race detector")
	}
	r := parseUpgrade(t, strings.Replace(upgradeGET, "\r\n\r\n", "\r\nSec-WebSocket-Protocol: chat, superchat\r\nsec-websocket-protocol: third\r\n\r\n", 1))
	room := make([]byte, 0, 512)
	if n := testing.AllocsPerRun(100, func() {
		var p Protocols
		r.EachHeader(func(name, value []byte) {
			if equalFold(name, "Sec-WebSocket-Protocol") {
				p.Add(value)
			}
		})
		protocol, err := p.Accept()
		if string(protocol) != "chat" || err != nil {
			panic("not selected")
		}
		Response{Key: r.Header("Sec-WebSocket-Key"), Protocol: protocol}.Append(room)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
