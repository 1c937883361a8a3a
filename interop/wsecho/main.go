// Command wsecho is a bare WebSocket echo over package netpoll: what the
// WebSocket conformance suite is run against. What it prints is in package run.
package main

import (
	"flag"
	"log"

	"github.com/sockeye-io/sockeye/interop/run"
	"github.com/sockeye-io/sockeye/netpoll"

	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/ws"
)

func main() {
	addr := run.Address("127.0.0.1:0")
	maxPayload := flag.Int("max-payload", 32<<20, "largest message, in `bytes`")
	deflate := flag.Bool("deflate", false, "compress every message, with peers that offer permessage-deflate")
	flag.Parse()
	if err := serve(*addr, *maxPayload, *deflate); err != nil {
		log.Fatal(err)
	}
}

func serve(addr string, maxPayload int, deflate bool) error {
	cfg := netpoll.Config{
		MaxMessageBytes: maxPayload,
		MaxQueuedBytes:  2 * maxPayload, // the suite sends on while it is being answered
	}
	if deflate {
		cfg.Deflate = &ws.DeflateConfig{Threshold: -1}
	}
	group, err := netpoll.New(cfg, echo{})
	if err != nil {
		return err
	}
	return run.UntilSignal(addr, run.Server{Listen: group.Listen, Shutdown: group.Close})
}

// echo upgrades every request and sends every message back.
type echo struct{}

func (echo) Claims([]byte) bool { return true }

func (echo) HandleRequest(c *netpoll.Conn, r *http1.Request) {
	_ = c.Upgrade(r, nil) // a request that is no upgrade has been answered with an error
}

func (echo) HandleMessage(c *netpoll.Conn, data []byte, binary bool) {
	buf := netpoll.NewBuffer(ws.FrameHeadroom + len(data))
	if c.Deflates() {
		buf.B = ws.AppendDeflatedFrame(buf.B, data, binary, 0)
		c.Send(buf, buf.B)
	} else {
		buf.B = append(buf.B[:ws.FrameHeadroom], data...)
		c.Send(buf, buf.B[ws.PutFrameHeader(buf.B, ws.FrameHeadroom, binary):])
	}
	buf.Release()
}

func (echo) HandleClose(*netpoll.Conn, error) {}
