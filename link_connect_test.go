package sockeye_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// TestSocketIOv4 is the exchange with clients of Socket.IO 1 and 2.
func TestSocketIOv4(t *testing.T) {
	auths := make(chan string, 2)
	addr, _ := serve(t, sockeye.Config{AllowEIO3: true}, func(srv *sockeye.Server) {
		srv.On("echo", func(s *sockeye.Socket, e *sockeye.Event) error { return s.Emit("echo", e.Arguments()...) })
		srv.On("id", func(s *sockeye.Socket) string { return s.ID() })
		srv.Of("/a").OnConnect(func(s *sockeye.Socket) error { auths <- string(s.AuthJSON()); return nil })
		srv.Of("/a").On("id", func(s *sockeye.Socket) string { return s.ID() })
		srv.Of("/no").Use(func(*sockeye.Socket) error { return &sockeye.ConnectError{Message: "not you"} })
		srv.Of("/data").Use(func(*sockeye.Socket) error {
			return &sockeye.ConnectError{Message: "not you", Data: map[string]int{"x": 1}}
		})
	})
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=3&transport=websocket")
	var open struct{ SID string }
	if err := json.Unmarshal([]byte(w.Expect(`0{*`)[1:]), &open); err != nil {
		t.Fatal(err)
	}
	sid := open.SID
	w.Expect(`40`) // unasked
	w.Write(`42["echo","é",{"a":[1]}]`)
	w.Expect(`42["echo","é",{"a":[1]}]`)
	w.Write(`420["id"]`)
	w.Expect(`430["` + sid + `"]`)
	w.Write(`451-["echo",{"_placeholder":true,"num":0}]`)
	w.WriteBinary([]byte{4, 1, 2})
	w.Expect(`451-["echo",{"_placeholder":true,"num":0}]`)
	w.ExpectBinary([]byte{4, 1, 2})

	w.Write(`40/a?token=1&x=%20,`)
	w.Expect(`40/a,`)
	if auth := within(t, auths); auth != `{"token":"1","x":" "}` {
		t.Errorf("auth %s", auth)
	}
	w.Write(`42/a,0["id"]`)
	w.Expect(`43/a,0["/a#` + sid + `"]`)
	w.Write(`42/a?token=1,1["id"]`) // some clients repeat the query
	w.Expect(`43/a,1["/a#` + sid + `"]`)
	w.Write(`40/no,`)
	w.Expect(`44/no,"not you"`)
	w.Write(`40/data,`)
	w.Expect(`44/data,{"x":1}`)
	w.Write(`40/none,`)
	w.Expect(`44/none,{"message":"Invalid namespace"}`)
	w.Write(`41/a,`)
	w.Write(`2`)
	w.Expect(`3`)
}

// TestAuthIsBounded: a session keeps no more of auth objects than it may.
func TestAuthIsBounded(t *testing.T) {
	addr, srv := serve(t, sockeye.Config{MaxAuthBytes: 10_000}, func(srv *sockeye.Server) { srv.Of("/b"); srv.Of("/c") })
	auth := `{"x":"` + strings.Repeat("x", 4_000) + `"}`
	w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
	w.Expect("0{*")
	before := srv.Stats().Net.MemoryBytes
	for _, ns := range []string{"", "/b,"} {
		w.Write("40" + ns + auth)
		w.Expect("40" + ns + "{*")
	}
	if charged := srv.Stats().Net.MemoryBytes - before; charged < 8_000 {
		t.Errorf("%d bytes are charged", charged)
	}
	w.Write("40/c," + auth)
	w.Expect(`44/c,{"message":"Auth too large"}`)
	w.Write("41/b,")
	w.Write("40/c," + auth)
	w.Expect("40/c,{*")
	w.Write("41/c,")
	w.Write("41")
	eventually(t, func() bool { return srv.Stats().Net.MemoryBytes == before })
}

// TestRefusalsThatPanic: each connect is answered, also when the error that refuses it, or its
// data, cannot be looked at; and OnError, which may block, is not called on the loop.
func TestRefusalsThatPanic(t *testing.T) {
	proceed := make(chan struct{})
	addr, srv := serve(t, sockeye.Config{Loops: 1}, func(srv *sockeye.Server) {
		refuse := func(name string, err error) {
			srv.Of(name).Use(func(*sockeye.Socket) error { return err })
		}
		refuse("/data", &sockeye.ConnectError{Message: "not you", Data: unsendable{}})
		refuse("/nil", (*sockeye.ConnectError)(nil))
		refuse("/strange", (*strange)(nil))
		refuse("/blocks", errors.New("password"))
		srv.OnError(func(s *sockeye.Socket, event string, err error) {
			if s.Namespace().Name() == "/blocks" {
				<-proceed
			}
		})
		srv.On("echo", func(n int) int { return n })
	})
	w := wiretest.Connect(t, addr)
	for name, want := range map[string]string{"/data": "not you", "/nil": "internal error", "/strange": "internal error"} {
		w.Write("40" + name + ",")
		w.Expect("44" + name + `,{"message":"` + want + `"}`)
	}
	w.Write("40/blocks,")
	for range 2 { // on the loop it would be called by now
		w.Write(`421["echo",7]`)
		w.Expect(`431[7]`)
	}
	close(proceed)
	w.Expect(`44/blocks,{"message":"internal error"}`)
	if n := srv.Stats().Net.CallbackPanics; n > 0 {
		t.Errorf("%d panics reached a loop", n)
	}
}
