// Command wsecho is a bare WebSocket echo over package netpoll: what the
// WebSocket conformance suite is run against.
//
// Its first line of output is "listening on <address>". It ends at SIGINT or
// SIGTERM.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"

	"github.com/sockeye-io/sockeye/proto/http1"
	"github.com/sockeye-io/sockeye/proto/ws"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:0", "`address` to listen on; port 0 lets the kernel choose")
	maxPayload := flag.Int("max-payload", 32<<20, "largest message, in `bytes`")
	deflate := flag.Bool("deflate", false, "compress every message, with peers that offer permessage-deflate")
	flag.Parse()
	if err := run(*addr, *maxPayload, *deflate); err != nil {
		log.Fatal(err)
	}
}

func run(addr string, maxPayload int, deflate bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
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
	bound, err := group.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Println("listening on", bound)
	<-ctx.Done()
	ending, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return group.Close(ending)
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
