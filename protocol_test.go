package sockeye_test

import (
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// The tests of this file are named after the sections of the Socket.IO
// protocol, version 5, and cover the cases of its public test suite. Engine.IO
// has its own: engine/testdata.

func open(t *testing.T, addr string) *wiretest.WS {
	t.Helper()
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
	w.Expect("0{*")
	return w
}

func TestConnectionToANamespace(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{}, reference)
	for _, c := range []struct{ name, send, answer, auth string }{
		{"main", "40", `40{"sid":"*`, `42["auth",{}]`},
		{"main with a payload", `40{"token":"123"}`, `40{"sid":"*`, `42["auth",{"token":"123"}]`},
		{"custom", "40/custom,", `40/custom,{"sid":"*`, `42/custom,["auth",{}]`},
		{"custom with a payload", `40/custom,{"token":"abc"}`, `40/custom,{"sid":"*`, `42/custom,["auth",{"token":"abc"}]`},
		{"custom without a comma", "40/custom", `40/custom,{"sid":"*`, `42/custom,["auth",{}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := open(t, addr)
			w.Write(c.send)
			w.Expect(c.answer)
			w.Expect(c.auth)
		})
	}
	t.Run("unknown", func(t *testing.T) {
		w := open(t, addr)
		w.Write("40/random")
		w.Expect(`44/random,{"message":"Invalid namespace"}`)
		w.Write("40/custom?a=b,") // a query is part of the name since version 5
		w.Expect(`44/custom?a=b,{"message":"Invalid namespace"}`)
		w.Write("40") // the session lives
		w.Expect(`40{"sid":"*`)
	})
	t.Run("several on one session", func(t *testing.T) {
		w := open(t, addr)
		w.Write("40")
		w.Expect(`40{*`)
		w.Expect(`42["auth",{}]`)
		w.Write("40/custom,")
		w.Expect(`40/custom,{*`)
		w.Expect(`42/custom,["auth",{}]`)
		w.Write(`42["message",1]`)
		w.Expect(`42["message-back",1]`)
		w.Write(`42/custom,["message",2]`)
		w.Expect(`42/custom,["message-back",2]`)
	})
	t.Run("over polling", func(t *testing.T) {
		p := wiretest.OpenPoll(t, addr)
		p.Post("40", 200, "ok")
		if _, body := p.Get(); body[:10] != `40{"sid":"` {
			t.Errorf("got %q", body)
		}
	})
}

func TestConnectTimeout(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{ConnectTimeout: 50 * time.Millisecond}, reference)
	w := open(t, addr)
	if code := w.ExpectClosed(); code != 0 {
		t.Errorf("closed with %d, want a close frame without a code", code)
	}
}

func TestDisconnectionFromANamespace(t *testing.T) {
	reasons := make(chan sockeye.Reason, 1)
	addr, _ := serve(t, sockeye.Config{}, func(srv *sockeye.Server) {
		reference(srv)
		srv.OnDisconnect(func(_ *sockeye.Socket, r sockeye.Reason) { reasons <- r })
		srv.On("kick", func(s *sockeye.Socket, closeSession bool) {
			if closeSession {
				s.CloseSession()
			} else {
				s.Disconnect()
			}
		})
	})
	t.Run("by the client", func(t *testing.T) {
		w := wiretest.Connect(t, addr)
		w.Expect(`42["auth",{}]`)
		w.Write("41")
		if r := within(t, reasons); r != sockeye.ClientNamespaceDisconnect {
			t.Errorf("reason %q", r)
		}
		w.Write("40") // it may come back
		w.Expect(`40{"sid":"*`)
		w.Conn.Close()
		within(t, reasons)
	})
	t.Run("by the server", func(t *testing.T) {
		w := wiretest.Connect(t, addr)
		w.Expect(`42["auth",{}]`)
		w.Write(`42["kick",false]`)
		w.Expect("41")
		if r := within(t, reasons); r != sockeye.ServerNamespaceDisconnect {
			t.Errorf("reason %q", r)
		}
		w.Write("40/custom,")
		w.Expect(`40/custom,{*`)
	})
	t.Run("by the server with the session", func(t *testing.T) {
		w := wiretest.Connect(t, addr)
		w.Expect(`42["auth",{}]`)
		w.Write(`42["kick",true]`)
		w.Expect("41")
		w.ExpectClosed()
		if r := within(t, reasons); r != sockeye.ServerNamespaceDisconnect {
			t.Errorf("reason %q", r)
		}
	})
	t.Run("by the end of the connection", func(t *testing.T) {
		w := wiretest.Connect(t, addr)
		w.Expect(`42["auth",{}]`)
		w.Conn.Close()
		if r := within(t, reasons); r != sockeye.TransportClose {
			t.Errorf("reason %q", r)
		}
	})
}

func TestSendingAndReceivingData(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{}, reference)
	w := wiretest.Connect(t, addr)
	w.Expect(`42["auth",{}]`)
	for _, args := range []string{
		`1,"2",{"3":[true]}`, `""`, `"é😀\u0000"`, `null`, `[[[[]]]]`, `1e3,-0.5`, `{"_placeholder":false}`,
	} {
		w.Write(`42["message",` + args + `]`)
		w.Expect(`42["message-back",` + args + `]`)
	}
	w.Write(`42["message"]`)
	w.Expect(`42["message-back"]`)
	// Binary.
	w.Write(`452-["message",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	w.WriteBinary([]byte{1, 2, 3})
	w.WriteBinary([]byte{4, 5, 6})
	w.Expect(`452-["message-back",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	w.ExpectBinary([]byte{1, 2, 3})
	w.ExpectBinary([]byte{4, 5, 6})
	// Nested, in an order of the client's.
	w.Write(`452-["message",{"a":[{"_placeholder":true,"num":1}]},{"_placeholder":true,"num":0}]`)
	w.WriteBinary([]byte("zero"))
	w.WriteBinary([]byte("one"))
	w.Expect(`452-["message-back",{"a":[{"_placeholder":true,"num":0}]},{"_placeholder":true,"num":1}]`)
	w.ExpectBinary([]byte("one"))
	w.ExpectBinary([]byte("zero"))
}

func TestAcknowledgement(t *testing.T) {
	addr, _ := serve(t, sockeye.Config{}, reference)
	w := wiretest.Connect(t, addr)
	w.Expect(`42["auth",{}]`)
	w.Write(`42456["message-with-ack",1,"2",{"3":[false]}]`)
	w.Expect(`43456[1,"2",{"3":[false]}]`)
	w.Write(`452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	w.WriteBinary([]byte{1, 2, 3})
	w.WriteBinary([]byte{4, 5, 6})
	w.Expect(`462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]`)
	w.ExpectBinary([]byte{1, 2, 3})
	w.ExpectBinary([]byte{4, 5, 6})
	w.Write(`43999["nobody asked"]`) // ignored
	w.Write(`421["message-with-ack"]`)
	w.Expect(`431[]`)
}

// TestProtocolViolations: each ends its session with "forced close", and
// nothing else.
func TestProtocolViolations(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{}, reference)
	other := wiretest.Connect(t, addr)
	other.Expect(`42["auth",{}]`)
	deep := make([]byte, 0, 10_100)
	deep = append(deep, `42["message",`...)
	for range 5_000 {
		deep = append(deep, '[')
	}
	for range 5_000 {
		deep = append(deep, ']')
	}
	deep = append(deep, ']')
	for name, packet := range map[string]string{
		"connect twice":                       `40`,
		"connect with an array":               `40/custom,[]`,
		"connect with a string":               `40/custom,"x"`,
		"connect error":                       `44{}`,
		"unknown type":                        `49`,
		"no type":                             `4`,
		"event for another namespace":         `42/custom,["message"]`,
		"event for an unknown namespace":      `42/nowhere,["message"]`,
		"event that is no array":              `42{}`,
		"event without payload":               `42`,
		"empty event":                         `42[]`,
		"name that is no string":              `42[null]`,
		"name that is an object":              `42[{}]`,
		"bad JSON":                            `42["message",]`,
		"JSON with a tail":                    `42["message"]x`,
		"bad ack id":                          `42abc["message-with-ack",1]`,
		"huge ack id":                         `4299999999999999999999["message-with-ack",1]`,
		"reserved name connect":               `42["connect"]`,
		"reserved name disconnecting":         `42["disconnecting"]`,
		"reserved name newListener":           `42["newListener"]`,
		"disconnect with payload":             `41{}`,
		"binary event without attachments":    `450-["message"]`,
		"binary event with 11 attachments":    `4511-["message"]`,
		"binary event, attachments no number": `45x-["message"]`,
		"too deep":                            string(deep),
	} {
		t.Run(name, func(t *testing.T) {
			w := wiretest.Connect(t, addr)
			w.Expect(`42["auth",{}]`)
			w.Write(packet)
			w.ExpectClosed()
		})
	}
	t.Run("event before connect", func(t *testing.T) {
		w := open(t, addr)
		w.Write(`42["message"]`)
		w.ExpectClosed()
	})
	t.Run("text while attachments are missing", func(t *testing.T) {
		w := wiretest.Connect(t, addr)
		w.Expect(`42["auth",{}]`)
		w.Write(`451-["message",{"_placeholder":true,"num":0}]`)
		w.Write(`42["message"]`)
		w.ExpectClosed()
	})
	t.Run("binary that nothing waits for", func(t *testing.T) {
		w := wiretest.Connect(t, addr)
		w.Expect(`42["auth",{}]`)
		w.WriteBinary([]byte{1})
		w.ExpectClosed()
	})
	t.Run("placeholder out of range", func(t *testing.T) {
		w := wiretest.Connect(t, addr)
		w.Expect(`42["auth",{}]`)
		w.Write(`451-["message",{"_placeholder":true,"num":1}]`)
		w.WriteBinary([]byte{1})
		w.ExpectClosed()
	})
	t.Run("attachments that do not come", func(t *testing.T) {
		addr, _ := serve(t, sockeye.Config{AttachmentTimeout: 30 * time.Millisecond}, reference)
		w := wiretest.Connect(t, addr)
		w.Expect(`42["auth",{}]`)
		w.Write(`451-["message",{"_placeholder":true,"num":0}]`)
		w.ExpectClosed()
	})
	t.Run("too many namespaces", func(t *testing.T) {
		addr, _ := serve(t, sockeye.Config{MaxNamespaces: 1}, reference)
		w := wiretest.Connect(t, addr)
		w.Expect(`42["auth",{}]`)
		w.Write(`40/custom,`)
		w.ExpectClosed()
	})
	if n := srv.Stats().ProtocolErrors; n < 25 {
		t.Errorf("%d protocol errors counted", n)
	}
	other.Write(`42["message","alive"]`)
	other.Expect(`42["message-back","alive"]`)
}
