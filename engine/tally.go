package engine

// What sessions do is counted in the table of their engine, on behalf of their loops.
const (
	tallyPacketsIn = iota
	tallyPacketsOut
	tallyPolling   // sessions, by their transport
	tallyWebSocket //
	tallyQueued    // in queuedUnit
	tallyFull      // sessions whose queue is full
)

func (s *Session) count(column, n int) { s.engine.tally.Add(s.loop.Index(), column, n) }

func (k transportKind) column() int {
	if k == transportWebSocket {
		return tallyWebSocket
	}
	return tallyPolling
}

// countQueued counts a change of what is published of a session's queue.
func (s *Session) countQueued(was, now uint32) {
	s.count(tallyQueued, int(now&queuedUnits)-int(was&queuedUnits))
	if full := int(now>>31) - int(was>>31); full != 0 {
		s.count(tallyFull, full)
	}
}

func (e *Engine) readTally(s *Stats) {
	t := &e.tally
	s.PacketsIn, s.PacketsOut = t.Sum(tallyPacketsIn), t.Sum(tallyPacketsOut)
	// A sum that is read while it changes may be below 0.
	s.PollingSessions, s.WebSocketSessions = max(0, int(t.Sum(tallyPolling))), max(0, int(t.Sum(tallyWebSocket)))
	s.QueuedBytes, s.FullSessions = max(0, int64(t.Sum(tallyQueued))*queuedUnit), max(0, int(t.Sum(tallyFull)))
}
