//go:build !race

package sockeye

// check panics when it is not called by the goroutine that runs the mailbox. Only race
// builds check; elsewhere it is empty and inlined.
func (b *mailbox) check() {}
