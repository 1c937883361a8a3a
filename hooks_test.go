package sockeye_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/broadcast"
	"github.com/sockeye-io/sockeye/internal/wiretest"
)

// everything calls every public method of a socket, its namespace, its server and
// of operators, but those that end the caller's own work.
func everything(s *sockeye.Socket) {
	ns, srv := s.Namespace(), s.Server()
	room := "room of " + s.ID()
	done, cancel := context.WithCancel(context.Background())
	cancel()

	_, _, _, _, _ = s.ID(), s.Connected(), s.Transport(), s.Request(), s.Handshake()
	_, _, _, _, _ = s.AuthJSON(), s.Recovered(), s.Rooms(), s.QueuedBytes(), s.Context()
	var auth any
	_ = s.Auth(&auth)
	_ = s.Join(room, "common")
	s.Leave("common")
	s.SetData(s.Data())
	s.SaveSession(s.Session())
	s.WithSession(func(m map[string]any) { m["x"] = 1 })
	remove := s.On("own", func() {})
	remove()
	s.Once("own", func() {})
	s.Off("own")
	_ = s.Emit("e", 1)
	_ = s.Send("m")
	_ = s.Volatile().Emit("e")
	_ = s.Compress(false).Timeout(time.Millisecond).Emit("e")
	_ = s.WithContext(done).Emit("e")
	_ = s.Flush(done)
	_ = s.EmitWithAck(func(sockeye.Args, error) {}, "ask")
	_, _ = s.Call(done, "ask")
	for _, op := range []sockeye.Operator{
		s.To(room), s.In(room), s.Except(room), s.Broadcast(), ns.To(room), ns.In(room), ns.Except(room), ns.All(), ns.Volatile(),
		srv.To(s.ID()), srv.All().Compress(false).Timeout(time.Millisecond),
	} {
		_ = op.Emit("e", 1)
		_ = op.Send("m")
		_ = op.EmitWithAck(func([]sockeye.Answer, error) {}, "ask")
		_, _ = op.Call(done, "ask")
		_ = op.Sockets()
		op.Join("x")
		op.Leave("x")
	}
	nobody := ns.To("nobody")
	nobody.CloseSession()
	_ = ns.Emit("e")
	_ = ns.Send("m")
	_, _, _, _, _ = ns.Len(), ns.Sockets(), ns.Socket(s.ID()), ns.Name(), ns.RecoveryStats()
	_, _, _ = ns.RoomCount(), ns.Dynamic(), srv.Namespaces()
	ns.CloseRoom(room)
	_, _ = srv.Stats(), srv.Path()
	_ = srv.Of("/made").Len()
}

// TestEverythingFromEveryHook calls every public method from every hook, handler and
// callback, of many peers at once, on goroutines and on loops, with recovery and
// without. Nothing may wait for itself; the race detector looks on.
func TestEverythingFromEveryHook(t *testing.T) {
	for _, c := range []sockeye.Config{
		{}, {Inline: true}, {Recovery: &sockeye.Recovery{}}, {Inline: true, Recovery: &sockeye.Recovery{}},
	} {
		t.Run(fmt.Sprintf("inline %v, recovery %v", c.Inline, c.Recovery != nil), func(t *testing.T) {
			const peers = 8
			var where sync.Map
			var ended atomic.Int64
			call := func(hook string, s *sockeye.Socket) {
				where.Store(hook, true)
				everything(s)
			}
			var inRoom, outgoing atomic.Int64 // a few times, not for each of what they do themselves
			c.Loops = 2
			addr, srv := serve(t, c, func(srv *sockeye.Server) {
				srv.Use(func(s *sockeye.Socket) error { call("Use", s); return nil })
				srv.OnConnect(func(s *sockeye.Socket) error { call("OnConnect", s); return nil })
				srv.OnConnection(func(s *sockeye.Socket) { call("OnConnection", s) })
				srv.OnDisconnecting(func(s *sockeye.Socket, _ sockeye.Reason) { call("OnDisconnecting", s) })
				srv.OnDisconnect(func(s *sockeye.Socket, _ sockeye.Reason) { call("OnDisconnect", s); ended.Add(1) })
				srv.OnAny(func(s *sockeye.Socket, _ *sockeye.Event) { call("OnAny", s) })
				srv.UseEvents(func(ctx context.Context, e *sockeye.Event, next func(context.Context) error) error {
					call("UseEvents", e.Socket())
					return next(ctx)
				})
				srv.OnUnhandled(func(s *sockeye.Socket, _ *sockeye.Event) error { call("OnUnhandled", s); return nil })
				srv.OnUpgrade(func(s *sockeye.Socket) { call("OnUpgrade", s) })
				srv.OnError(func(s *sockeye.Socket, _ string, _ error) { call("OnError", s) })
				srv.OnAnyOutgoing(func(s *sockeye.Socket, _ string, _ []any) {
					if s != nil && outgoing.Add(1) <= 10 {
						call("OnAnyOutgoing", s)
					}
				})
				srv.OnRoom(func(e broadcast.RoomEvent) {
					if s := srv.Socket(e.ID); s != nil && inRoom.Add(1) <= 10 {
						call("OnRoom", s)
					}
				})
				srv.OnNamespace(func(ns *sockeye.Namespace) { _ = ns.Emit("e"); _ = srv.Emit("e"); where.Store("OnNamespace", true) })
				srv.OfFunc(func(name string, _ json.RawMessage) bool {
					_ = srv.Emit("e")
					_ = srv.Of("/").Len()
					return name == "/child"
				})
				srv.On("typed", func(s *sockeye.Socket, _ int) { call("On", s) })
				srv.On("raw", func(s *sockeye.Socket, e *sockeye.Event) error { call("raw", s); return e.Ack(1) })
				srv.On("fail", func(s *sockeye.Socket) error { return fmt.Errorf("it fails") })
				srv.On("ask", func(s *sockeye.Socket) {
					_ = s.EmitWithAck(func(sockeye.Args, error) { call("EmitWithAck", s) }, "question")
				})
				srv.On("leave", func(s *sockeye.Socket) { s.Disconnect(); everything(s); s.CloseSession() })
			})
			var done sync.WaitGroup
			for range peers {
				done.Go(func() {
					w := wiretest.DialWS(t, addr, "/socket.io/?EIO=4&transport=websocket")
					w.Write("40")
					for text := ""; !strings.HasPrefix(text, "40{"); { // what middlewares emit comes first
						data, _, err := w.Read()
						if text = string(data); err != nil {
							t.Error(err)
							return
						}
					}
					go func() {
						for {
							if _, _, err := w.Read(); err != nil {
								return
							}
						}
					}()
					for _, text := range []string{
						`42["typed",1]`, `421["raw"]`, `42["fail"]`, `42["ask"]`, `430[]`, `42["nobody"]`, `40/child,`,
						`42["typed",1]`, `42["leave"]`, `42["typed",1]`,
					} {
						w.Write(text)
					}
					eventually(t, func() bool { return ended.Load() >= peers })
					_ = w.Conn.Close()
				})
			}
			done.Wait()
			eventually(t, func() bool { return srv.Len() == 0 && srv.Stats().ActiveSockets == 0 })
			for _, hook := range []string{
				"Use", "OnConnect", "OnConnection", "OnDisconnecting", "OnDisconnect", "OnAny", "UseEvents", "OnUnhandled",
				"OnError", "OnAnyOutgoing", "OnRoom", "OnNamespace", "On", "raw", "EmitWithAck",
			} {
				if _, ok := where.Load(hook); !ok {
					t.Errorf("%s was not called", hook)
				}
			}
		})
	}
}
