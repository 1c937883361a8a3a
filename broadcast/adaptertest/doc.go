// Package adaptertest tests adapters: every one keeps the contract of broadcast.Adapter, and
// does the same for the same calls. Servers share a bus, and real clients are connected to
// each.
//
//	func TestConformance(t *testing.T) {
//		adaptertest.Run(t, adaptertest.Bus{Adapter: func(t testing.TB) broadcast.Adapter { … }})
//	}
//
// Hub is a bus in memory.
package adaptertest
