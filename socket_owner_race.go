//go:build race

package sockeye

import (
	"fmt"

	"github.com/sockeye-io/sockeye/internal/goroutine"
)

// check panics when it is not called by the goroutine that runs the mailbox. Only race
// builds check; elsewhere it is empty and inlined.
func (b *mailbox) check() {
	if !b.socket.inHandler() {
		panic(fmt.Sprintf("sockeye: the mailbox is run by another goroutine than %d, which touches it", goroutine.Number()))
	}
}
