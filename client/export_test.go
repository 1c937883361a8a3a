package client

// Quiet tells whether nothing of c is under way: no goroutine of it, nor of its
// connection.
func Quiet(c *Client) bool {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.m.link == resting && c.m.session == nil && !c.dispatching && !c.preparer
}

// Queued is what waits for c's handlers.
func Queued(c *Client) (events, bytes int) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.eventsQueued, c.bytesQueued
}

// Calls is how many Calls wait for an answer.
func Calls(c *Client) int {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	return c.m.calls
}

// Standing is how far the connecting has come.
func Standing(c *Client) string {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	switch {
	case c.m.link == opening:
		return "handshake"
	case c.m.link == pausing:
		return "pause"
	case c.life == asking:
		return "connect"
	}
	return ""
}

// Stopping has c's connection be over before its reader knows: end tells that.
func Stopping(c *Client) (end func()) {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	s := c.m.session
	s.flow = stopping
	s.watchdog.Stop()
	return func() { s.t.close() }
}
