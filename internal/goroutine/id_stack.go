//go:build !(gc && (386 || amd64 || arm || arm64 || loong64 || ppc64 || ppc64le || riscv64 || s390x))

package goroutine

// ID identifies the calling goroutine: no two that live at the same time have
// the same ID, and it is never 0. It holds while the goroutine lives, and not
// longer. Here it is Number, and as slow.
func ID() uintptr { return uintptr(Number()) }
