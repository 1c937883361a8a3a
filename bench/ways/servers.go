package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"

	"github.com/sockeye-io/sockeye"
)

// way is a server, as it is reached.
type way struct {
	name, title string
	secure      bool
	version     uint16 // of TLS, the client's newest; 0: 1.3
	raw         bool   // it speaks WebSocket, and no Socket.IO
	listen      func(ln net.Listener, cfg *tls.Config) error
}

var ways = []way{
	{"listener", "Sockeye, its own listener", false, 0, false, func(ln net.Listener, _ *tls.Config) error { return server(nil).Serve(ln) }},
	{"mounted", "Sockeye, mounted in net/http", false, 0, false, func(ln net.Listener, _ *tls.Config) error { return web(mounted(), ln, nil) }},
	{"bridge", "Sockeye, bridged: a listener of another kind", false, 0, false, func(ln net.Listener, _ *tls.Config) error { return server(nil).Serve(opaque{ln}) }},
	{"gorilla", "net/http, gorilla/websocket", false, 0, true, func(ln net.Listener, _ *tls.Config) error { return web(gorillaCrowd(), ln, nil) }},
	{"coder", "net/http, coder/websocket", false, 0, true, func(ln net.Listener, _ *tls.Config) error { return web(coderCrowd(), ln, nil) }},
	{"tls", "Sockeye, TLS 1.3 on the loops", true, 0, false, func(ln net.Listener, cfg *tls.Config) error { return server(cfg).Serve(ln) }},
	{"tls12", "Sockeye, TLS 1.2 on the loops", true, tls.VersionTLS12, false, func(ln net.Listener, cfg *tls.Config) error { return server(cfg).Serve(ln) }},
	{"mounted-tls", "Sockeye, mounted, TLS 1.3 of net/http", true, 0, false, func(ln net.Listener, cfg *tls.Config) error { return web(mounted(), ln, cfg) }},
	{"gorilla-tls", "net/http with TLS 1.3, gorilla/websocket", true, 0, true, func(ln net.Listener, cfg *tls.Config) error { return web(gorillaCrowd(), ln, cfg) }},
	{"coder-tls", "net/http with TLS 1.3, coder/websocket", true, 0, true, func(ln net.Listener, cfg *tls.Config) error { return web(coderCrowd(), ln, cfg) }},
}

func find(name string) (way, error) {
	i := slices.IndexFunc(ways, func(w way) bool { return w.name == name })
	if i < 0 {
		return way{}, fmt.Errorf("%q is none of %s", name, names())
	}
	return ways[i], nil
}

// path is where all of them have their WebSockets.
const path = "/socket.io/"

// serve is the server's process: it prints its address, and answers each line of its
// input when it has given back what memory it does not use.
func serve(name string) error {
	w, err := find(name)
	if err != nil {
		return err
	}
	ln, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	var cfg *tls.Config
	if w.secure {
		if cfg, err = certificate(); err != nil {
			return err
		}
	}
	failed := make(chan error, 1)
	go func() { failed <- w.listen(ln, cfg) }()
	fmt.Println(ln.Addr())
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		debug.FreeOSMemory()
		fmt.Println()
	}
	select {
	case err = <-failed:
		return err
	default:
		return nil // its input ends with the load
	}
}

// server is Sockeye: who sends "m" has it sent to all.
func server(cfg *tls.Config) *sockeye.Server {
	srv, err := sockeye.New(sockeye.Config{TLS: cfg})
	if err != nil {
		log.Fatal(err)
	}
	srv.On("m", func(text string) error { return srv.Emit("m", text) })
	return srv
}

func mounted() http.Handler {
	mux := http.NewServeMux()
	mux.Handle(path, server(nil).Handler())
	return mux
}

// opaque is a listener whose connections are nothing but net.Conns.
type opaque struct{ net.Listener }

func (o opaque) Accept() (net.Conn, error) {
	c, err := o.Listener.Accept()
	return struct{ net.Conn }{c}, err
}

func web(h http.Handler, ln net.Listener, cfg *tls.Config) error {
	s := &http.Server{Handler: h, TLSConfig: cfg, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(os.Stderr, "", 0)}
	if cfg != nil {
		return s.ServeTLS(ln, "", "")
	}
	return s.Serve(ln)
}

// crowd are the connections of a server with a goroutine for each. A message is written to
// one after the other by the goroutine that has read it, which is the cheapest way: with
// another goroutine and a queue for each connection, as chats have them, it costs more.
type crowd[C comparable] struct {
	mu    sync.Mutex
	conns map[C]struct{}
}

func (c *crowd[C]) join(conn C) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conns == nil {
		c.conns = map[C]struct{}{}
	}
	c.conns[conn] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.conns, conn)
	}
}

// each calls write for all of them.
func (c *crowd[C]) each(write func(conn C) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for conn := range c.conns {
		errs = append(errs, write(conn))
	}
	return errors.Join(errs...)
}

// gorillaCrowd has small buffers for reading, one pool of those for writing, and frames a
// broadcast once.
func gorillaCrowd() http.Handler {
	all := &crowd[*gorilla.Conn]{}
	up := gorilla.Upgrader{ReadBufferSize: 512, WriteBufferSize: 512, WriteBufferPool: &sync.Pool{}, CheckOrigin: func(*http.Request) bool { return true }}
	mux := http.NewServeMux()
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		conn, err := up.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		defer conn.Close()
		defer all.join(conn)()
		for {
			_, b, err := conn.ReadMessage()
			if err != nil {
				return
			}
			m, err := gorilla.NewPreparedMessage(gorilla.TextMessage, b)
			if err != nil {
				return
			}
			_ = all.each(func(c *gorilla.Conn) error { return c.WritePreparedMessage(m) })
		}
	})
	return mux
}

func coderCrowd() http.Handler {
	all := &crowd[*coder.Conn]{}
	mux := http.NewServeMux()
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		conn, err := coder.Accept(w, r, &coder.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer conn.CloseNow()
		defer all.join(conn)()
		ctx := context.Background() // the request's ends with the handler alone, and costs a look at each write
		for {
			_, b, err := conn.Read(ctx)
			if err != nil {
				return
			}
			_ = all.each(func(c *coder.Conn) error { return c.Write(ctx, coder.MessageText, b) })
		}
	})
	return mux
}

// certificate is a server's with a key on P-256, as most certificates have it.
func certificate() (*tls.Config, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}, nil
}
