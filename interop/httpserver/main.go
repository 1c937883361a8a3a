// Command httpserver is what the HTTP/1.1 conformance cases are sent to: one
// handler behind net/http, which is the yardstick, or behind Sockeye as its
// Config.Fallback, with Socket.IO at its own path. What it prints is in package run.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	sockeye "github.com/sockeye-io/sockeye"
	"github.com/sockeye-io/sockeye/interop/run"
)

func main() {
	addr := run.Address("127.0.0.1:0")
	plain := flag.Bool("nethttp", false, "serve with net/http alone")
	flag.Parse()
	serve := serveSockeye
	if *plain {
		serve = serveNetHTTP
	}
	s, err := serve()
	if err == nil {
		err = run.UntilSignal(*addr, s)
	}
	if err != nil {
		log.Print(err)
	}
}

func serveNetHTTP() (run.Server, error) {
	srv := &http.Server{
		Handler:        handler(),
		MaxHeaderBytes: 16 << 10, // as Sockeye's default; net/http adds 4 KiB
		ErrorLog:       log.New(io.Discard, "", 0),
	}
	listen := func(network, address string) (net.Addr, error) {
		l, err := net.Listen(network, address)
		if err != nil {
			return nil, err
		}
		go func() { _ = srv.Serve(l) }()
		return l.Addr(), nil
	}
	return run.Server{Listen: listen, Shutdown: func(context.Context) error { return srv.Close() }}, nil
}

func serveSockeye() (run.Server, error) {
	// The suite opens a session for each case, over few connections, and joins nothing.
	srv, err := sockeye.New(sockeye.Config{Fallback: handler(), MaxPendingSessions: -1})
	if err != nil {
		return run.Server{}, err
	}
	return run.Server{Listen: srv.Listen, Shutdown: srv.Shutdown, Stats: func() any { return srv.Stats() }}, nil
}

// modified is the date of the resource "/".
var modified = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// handler has three resources: /echo and /cookie answer with the fields and the
// cookies of the request, and all other paths with its content or, if it is a
// GET, with a document that has validators.
func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		var lines []string
		for name, values := range r.Header {
			for _, v := range values {
				lines = append(lines, name+": "+v+"\n")
			}
		}
		slices.Sort(lines)
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, strings.Join(lines, ""))
	})
	mux.HandleFunc("/cookie", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		for _, c := range r.Cookies() {
			_, _ = fmt.Fprintf(w, "%s=%s\n", c.Name, c.Value)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
		case r.Method == http.MethodPost:
			w.Header().Set("Content-Type", "text/plain")
			_, _ = w.Write(body)
		case r.Method == http.MethodGet || r.Method == http.MethodHead:
			w.Header().Set("ETag", `"v1"`)
			http.ServeContent(w, r, "a.txt", modified, strings.NewReader("OK"))
		case r.Method == http.MethodOptions:
			w.Header().Set("Allow", "GET, HEAD, POST, OPTIONS")
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Allow", "GET, HEAD, POST, OPTIONS")
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	})
	// A ServeMux redirects paths that are not clean; these are left as they are.
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo", "/cookie":
		default:
			r.URL.Path = "/"
		}
		mux.ServeHTTP(w, r)
	})
}
