// Command engineio is the server that the test suite of npm's engine.io-client
// runs against: what that suite expects of its own support server, in Go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/interop/run"
	"github.com/sockeye-io/sockeye/netpoll"
)

func main() {
	addr := run.Address("127.0.0.1:3710")
	flag.Parse()
	if err := serve(*addr); err != nil {
		log.Fatal(err)
	}
}

func serve(addr string) error {
	e, err := engine.New(engine.Config{
		PingInterval: 500 * time.Millisecond,
		MaxPayload:   100,
		Origins:      []string{"*"},
		AllowRequest: func(r *engine.Request) error {
			if r.Query().Has("deny") {
				return errors.New("")
			}
			return nil
		},
		Headers: func(h http.Header, r *engine.Request, initial bool) {
			if !initial {
				return
			}
			for _, cookie := range []string{
				"1=1; Max-Age=86400", "2=2; Path=/; HttpOnly; Secure; SameSite=Strict", "3=3; Max-Age=0",
				"4=4; Expires=" + time.Now().UTC().Format(http.TimeFormat),
			} {
				h.Add("Set-Cookie", cookie)
			}
		},
	}, support{})
	if err != nil {
		return err
	}
	group, err := engine.Start(netpoll.Config{}, e)
	if err != nil {
		return err
	}
	return run.UntilSignal(addr, run.Server{Listen: group.Listen, Shutdown: func(ctx context.Context) error {
		return errors.Join(e.Close(ctx), group.Close(ctx))
	}})
}

// support echoes, with some exceptions.
type support struct{}

func send(s *engine.Session, binary bool, data []byte) {
	m := engine.NewMessage(binary)
	m.B = append(m.B, data...)
	s.Send(m.Seal())
	m.Release()
}

func (support) OnOpen(s *engine.Session) {
	s.Establish()
	send(s, false, []byte("hi"))
}

func (support) OnMessage(s *engine.Session, data []byte, binary bool) {
	switch text := string(data); {
	case binary:
		send(s, true, data)
	case text == "give binary":
		send(s, true, []byte{0, 1, 2, 3, 4})
	case text == "give utf8":
		send(s, false, []byte("пойду спать всем спокойной ночи"))
	case text == "sendHeaders":
		headers := map[string]string{}
		for k, v := range s.PostHeaders() {
			headers[strings.ToLower(k)] = v[0]
		}
		b, _ := json.Marshal(headers) // cannot fail
		send(s, false, b)
	default:
		send(s, false, data)
	}
}

func (support) OnClose(*engine.Session, engine.CloseReason) {}
