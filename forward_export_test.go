package sockeye

// ID is the server's name in its sids.
func (srv *Server) ID() string { return srv.id }

// Peers are how many other servers are heard of.
func (srv *Server) Peers() int {
	p := srv.peers.Load()
	p.mu.RLock()
	defer p.mu.RUnlock()
	return len(p.known)
}
