//go:build gc && (386 || amd64 || arm || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x)

package goroutine

// ID identifies the calling goroutine: no two that live at the same time have
// the same ID, and it is never 0. It holds while the goroutine lives, and not
// longer: the runtime gives the ID to a new goroutine after its end. It is the
// address of the runtime's g, which neither moves nor is freed.
func ID() uintptr
