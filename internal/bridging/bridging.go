// Package bridging has a switch for tests: everything that a group serves goes over the
// bridge of package netpoll, as it does where loops have no queue of the kernel's.
package bridging

import "sync/atomic"

// All is to be set before a group is made.
var All atomic.Bool
