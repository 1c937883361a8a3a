//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "cluster: needs Linux: it reads /proc, and runs taskset")
	os.Exit(2)
}
