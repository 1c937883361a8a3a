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

// PeerIDs are their names.
func (srv *Server) PeerIDs() (ids []string) {
	p := srv.peers.Load()
	p.mu.RLock()
	defer p.mu.RUnlock()
	for id := range p.known {
		ids = append(ids, id)
	}
	return ids
}

// LinkSecret is what opens the link.
func (srv *Server) LinkSecret() string { return srv.peers.Load().secret }
