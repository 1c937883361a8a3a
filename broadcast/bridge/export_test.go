package bridge

// Hold stops the bridge until release is called: it tells the others nothing, and hears nothing.
func (br *Bridge) Hold() (release func()) {
	br.e.mu.Lock()
	return br.e.mu.Unlock
}
