//go:build !race

package netpoll

// Check panics when it is not called on the loop's own goroutine. Only race
// builds check; elsewhere it is empty and inlined.
func (l *Loop) Check() {}
