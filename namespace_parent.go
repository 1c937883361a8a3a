package sockeye

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"sync"
)

// ParentNamespace makes namespaces as peers ask for them. Its handlers are
// those of all its children. Its methods may be called from any goroutine.
type ParentNamespace struct {
	// What the children call.
	handlers

	// Immutable after Server.OfFunc.
	srv     *Server
	admits  func(name string, auth json.RawMessage) bool
	pattern string // of OfPattern

	// Guarded by mu.
	mu       sync.Mutex
	children []*Namespace
}

// OfPattern returns a parent of the namespaces whose whole name matches.
func (srv *Server) OfPattern(pattern *regexp.Regexp) *ParentNamespace {
	if pattern == nil {
		panic("sockeye: OfPattern: the pattern is nil")
	}
	return srv.ofFunc(pattern.String(), func(name string, _ json.RawMessage) bool {
		return pattern.FindString(name) == name
	})
}

// OfFunc returns a parent of the namespaces that admits lets peers make. It is
// asked, with the peer's auth object, for names that do not exist; parents are
// asked in the order in which they were made. admits must not block: it is
// called on an event loop.
func (srv *Server) OfFunc(admits func(name string, auth json.RawMessage) bool) *ParentNamespace {
	if admits == nil {
		panic("sockeye: OfFunc: the function is nil")
	}
	return srv.ofFunc("", admits)
}

func (srv *Server) ofFunc(pattern string, admits func(name string, auth json.RawMessage) bool) *ParentNamespace {
	p := &ParentNamespace{srv: srv, admits: admits, pattern: pattern}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.parents = append(slices.Clone(srv.parents), p)
	return p
}

// Children are the namespaces that exist at present.
func (p *ParentNamespace) Children() []*Namespace {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.children)
}

// All addresses all sockets of all children.
func (p *ParentNamespace) All() Operator { return Operator{parent: p} }

// To addresses the sockets of rooms in all children.
func (p *ParentNamespace) To(rooms ...string) Operator { return p.All().To(rooms...) }

// In is To.
func (p *ParentNamespace) In(rooms ...string) Operator { return p.To(rooms...) }

// Except addresses all sockets of all children but those of rooms.
func (p *ParentNamespace) Except(rooms ...string) Operator { return p.All().Except(rooms...) }

// Emit sends an event to every socket of every child.
func (p *ParentNamespace) Emit(event string, args ...any) error { return p.All().Emit(event, args...) }

// Send emits the "message" event to every socket of every child.
func (p *ParentNamespace) Send(args ...any) error { return p.Emit("message", args...) }

// makeChild makes a namespace that the application, or a peer, asks for, if a
// parent admits it. Only peers are bounded.
func (srv *Server) makeChild(name string, auth []byte, byPeer bool) *Namespace {
	srv.mu.RLock()
	parents := srv.parents
	srv.mu.RUnlock()
	for _, p := range parents {
		if !p.admit(name, auth) {
			continue
		}
		srv.mu.Lock()
		if ns := srv.namespaces[name]; ns != nil { // another loop was faster
			srv.mu.Unlock()
			return ns
		}
		if byPeer && srv.cfg.MaxDynamicNamespaces > 0 && srv.dynamic >= srv.cfg.MaxDynamicNamespaces {
			srv.mu.Unlock()
			return nil
		}
		ns := newNamespace(srv, name, p, srv.cfg.Recovery)
		srv.namespaces[name] = ns
		srv.dynamic++
		p.mu.Lock() // inside srv.mu, as in leave: or a child that is left at once stays listed
		p.children = append(p.children, ns)
		p.mu.Unlock()
		srv.mu.Unlock()
		srv.announce(ns)
		return ns
	}
	return nil
}

// admit asks; a panic is a no.
func (p *ParentNamespace) admit(name string, auth []byte) (ok bool) {
	p.srv.protect("OfFunc", func() { ok = p.admits(name, auth) })
	return ok
}

// enter finds the namespace that a peer wants to join, or makes it; nil if there
// is none. leave must follow.
func (srv *Server) enter(name, auth []byte) *Namespace {
	if len(name) == 1 {
		return srv.Namespace
	}
	for {
		srv.mu.RLock()
		ns := srv.namespaces[string(name)]
		if ns != nil && ns.parent != nil {
			ns.users.Add(1) // under mu: leave cannot drop it meanwhile
		}
		srv.mu.RUnlock()
		if ns != nil || srv.makeChild(string(name), auth, true) == nil {
			return ns
		}
	}
}

// leave follows enter.
func (srv *Server) leave(ns *Namespace) {
	if ns.parent != nil && ns.users.Add(-1) == 0 {
		srv.tidy(ns)
	}
}

// tidy forgets a child that nobody uses any more, or may come back to, if the
// server is to.
func (srv *Server) tidy(ns *Namespace) {
	p := ns.parent
	if p == nil || !srv.cfg.CleanupEmptyChildNamespaces {
		return
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if ns.users.Load() > 0 || srv.namespaces[ns.name] != ns || ns.history != nil && ns.history.away() {
		return
	}
	delete(srv.namespaces, ns.name)
	srv.dynamic--
	ns.rooms.Close()
	if ns.remote != nil {
		ns.remote.Close()
	}
	if h := ns.shared.Load(); h != nil {
		go h.close(context.Background())
	}
	if ns.history != nil {
		ns.history.close()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.children = slices.DeleteFunc(p.children, func(x *Namespace) bool { return x == ns })
}
