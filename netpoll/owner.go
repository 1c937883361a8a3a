//go:build !race

package netpoll

// owner costs nothing outside race builds.
type owner struct{}

func (*owner) claim() {}

// Check panics when it is not called on the loop's own goroutine. Only race
// builds check; elsewhere it is empty and inlined.
func (l *Loop) Check() {}
