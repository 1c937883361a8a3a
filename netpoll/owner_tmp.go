package netpoll

import "sync"

var tmpLoops sync.Map

func OnLoop() bool { _, ok := tmpLoops.Load(goroutineID()); return ok }

func (g *Group) OnLoop() bool { return OnLoop() }
