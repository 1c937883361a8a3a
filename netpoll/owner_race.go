//go:build race

package netpoll

import (
	"fmt"

	"github.com/sockeye-io/sockeye/internal/goroutine"
)

// Check panics when it is not called on the loop's own goroutine. Only race
// builds check; elsewhere it is empty and inlined.
func (l *Loop) Check() {
	if l.owner.id != goroutine.ID() {
		panic(fmt.Sprintf("netpoll: loop %d is owned by another goroutine than %d, which calls: Post to the loop", l.index, goroutine.Number()))
	}
}
