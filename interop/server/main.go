// Command server is the server that the interoperability tests drive with real
// clients, and that the public protocol suites can be pointed at. What it does
// is in package events, and what it prints in package run.
package main

import (
	"crypto/tls"
	"flag"
	"log"
	"os"
	"runtime/pprof"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/engine"
	"github.com/sockeye-io/sockeye/internal/tlspeer"
	"github.com/sockeye-io/sockeye/interop/events"
	"github.com/sockeye-io/sockeye/interop/run"

	"github.com/sockeye-io/sockeye/proto/ws"
)

func main() {
	var cfg sockeye.Config
	addr := run.Address("127.0.0.1:0")
	flag.StringVar(&cfg.Path, "path", "/socket.io/", "path of Socket.IO")
	flag.DurationVar(&cfg.PingInterval, "ping-interval", 0, "time between pings (default 25s)")
	flag.DurationVar(&cfg.PingTimeout, "ping-timeout", 0, "time to answer a ping (default 20s)")
	flag.DurationVar(&cfg.ConnectTimeout, "connect-timeout", 0, "time to join a namespace (default 45s)")
	flag.IntVar(&cfg.MaxPayload, "max-payload", 0, "largest request body or message, in `bytes` (default 1000000)")
	flag.BoolVar(&cfg.AllowEIO3, "eio3", false, "serve clients of Socket.IO 1 and 2 as well")
	flag.BoolVar(&cfg.Inline, "inline", false, "run handlers on the event loops")
	secure := flag.Bool("tls", false, "speak TLS, with a certificate of its own")
	certFile := flag.String("cert", "", "with -tls: a certificate's `file` instead, PEM")
	keyFile := flag.String("key", "", "the `file` of its key")
	flag.BoolVar(&cfg.PlainTLS, "plain-tls", false, "leave its records to crypto/tls")
	deflate := flag.Bool("deflate", false, "compress all WebSocket messages of peers that can")
	eioPath := flag.String("eio-path", "", "if set, a bare Engine.IO echo is served on this `path`")
	profile := flag.String("cpuprofile", "", "write a CPU profile to this `file`, as for default.pgo")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			log.Fatal(err)
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			log.Fatal(err)
		}
		defer pprof.StopCPUProfile()
	}
	if *secure {
		cfg.TLS = tlspeer.ServerConfig()
		if *certFile != "" {
			c, err := tls.LoadX509KeyPair(*certFile, *keyFile)
			if err != nil {
				log.Fatal(err)
			}
			cfg.TLS.Certificates = []tls.Certificate{c}
		}
	}
	if *deflate {
		cfg.Deflate = &ws.DeflateConfig{Threshold: -1}
	}
	if err := serve(*addr, *eioPath, cfg); err != nil {
		log.Print(err)
	}
}

func serve(addr, eioPath string, cfg sockeye.Config) error {
	cfg.Origins = []string{"*"}
	if eioPath != "" {
		bare := engine.Config{
			Path: eioPath, PingInterval: cfg.PingInterval, PingTimeout: cfg.PingTimeout, MaxPayload: cfg.MaxPayload, AllowEIO3: cfg.AllowEIO3,
			Origins: cfg.Origins,
		}
		e, err := engine.New(bare, echo{})
		if err != nil {
			return err
		}
		cfg.Engines = append(cfg.Engines, e)
	}
	srv, err := sockeye.New(cfg)
	if err != nil {
		return err
	}
	for _, name := range []string{"/", "/custom"} {
		events.Register(srv.Of(name))
	}
	events.RegisterRefused(srv.Of("/refused"))
	return run.UntilSignal(addr, run.Server{Listen: srv.Listen, Shutdown: srv.Shutdown, Stats: func() any { return srv.Stats() }})
}

// echo is the handler of the bare Engine.IO path.
type echo struct{}

func (echo) OnOpen(s *engine.Session) { s.Establish() }

func (echo) OnMessage(s *engine.Session, data []byte, binary bool) {
	m := engine.NewMessage(binary)
	m.B = append(m.B, data...)
	s.Send(m.Seal())
	m.Release()
}

func (echo) OnClose(*engine.Session, engine.CloseReason) {}
