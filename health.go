package sockeye

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sockeye-io/sockeye/netpoll"
)

// StuckLoop is an event loop that does not turn: which, for how long, and in what.
type StuckLoop = netpoll.StuckLoop

// stuckAfter is from when on a loop that does not turn is a fault. Peers notice it within
// PingTimeout.
const stuckAfter = 10 * time.Second

// Health is whether a server can serve.
type Health struct {
	// Live: every event loop has turned within the last 10 s, or had nothing to do. A
	// process that is not live is to be restarted.
	Live bool

	// Ready: it is live, listens, and takes new peers. While it is not, new peers are
	// to be sent elsewhere; those that are there go on.
	Ready bool

	// NotReady are the reasons why it is not ready, in words.
	NotReady []string

	// Stuck are the loops that have not turned.
	Stuck []StuckLoop
}

// Health tells whether the server can serve. It waits for nothing: it answers while a
// loop is stuck, too.
func (srv *Server) Health() Health {
	h := Health{Stuck: srv.group.Stuck(stuckAfter)}
	not := func(format string, args ...any) { h.NotReady = append(h.NotReady, fmt.Sprintf(format, args...)) }
	for _, s := range h.Stuck {
		not("%v", s)
	}
	err := srv.group.Err()
	if err != nil {
		not("the event loops have failed: %v", err)
	}
	h.Live = len(h.NotReady) == 0
	net, m := srv.group.Config(), srv.group.Memory()
	switch {
	case srv.closing.Load():
		not("it is shutting down")
	case srv.retired.Load():
		not("it is about to shut down")
	case err == nil && srv.group.Listening() == 0 && !srv.mounted.Load():
		not("it does not listen")
	}
	if m.Near() {
		not("of %d bytes of Config.MaxMemory %d are used", net.MaxMemory, m.Used())
	}
	if n := srv.group.Open(); n >= net.MaxConns {
		not("%d connections are open, as many as Config.MaxConns", n)
	}
	if n := srv.engine.Len(); n >= srv.engine.Config().MaxSessions {
		not("%d sessions are open, as many as Config.MaxSessions", n)
	}
	h.Ready = len(h.NotReady) == 0
	return h
}

// Retire has Readyz answer 503 from now on, and changes nothing else: balancers that ask
// there send new peers elsewhere. When they have noticed, call Shutdown.
func (srv *Server) Retire() { srv.retired.Store(true) }

// Healthz answers whether the process is to live: 200, or 503 with the loops that are
// stuck. See Health, and Readyz for where to serve it.
func (srv *Server) Healthz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := srv.Health()
		var why []string
		for _, s := range h.Stuck {
			why = append(why, s.String())
		}
		answerHealth(w, h.Live, why)
	})
}

// Readyz answers whether new peers are to be sent here: 200, or 503 with the reasons, a
// line for each. See Health.
//
// Serve both by a net/http server of their own, on another port:
//
//	mux := http.NewServeMux()
//	mux.Handle("/healthz", srv.Healthz())
//	mux.Handle("/readyz", srv.Readyz())
//	go http.ListenAndServe("127.0.0.1:8081", mux)
//
// That answers whatever the event loops do. As Config.Fallback they are served by
// net/http, too, but a loop accepts the connection and reads the request first: while
// loops are stuck a probe gets no answer, which is a failure as well, but one that does
// not say why; and with one loop of several stuck some probes get through.
func (srv *Server) Readyz() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := srv.Health()
		answerHealth(w, h.Ready, h.NotReady)
	})
}

func answerHealth(w http.ResponseWriter, ok bool, why []string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	if ok {
		_, _ = w.Write([]byte("ok\n"))
		return
	}
	if len(why) == 0 {
		why = []string{"the event loops have ended"}
	}
	w.WriteHeader(http.StatusServiceUnavailable)
	_, _ = w.Write([]byte(strings.Join(why, "\n") + "\n"))
}
