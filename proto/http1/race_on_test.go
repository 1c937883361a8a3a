//go:build race

package http1

// raceBuild: allocation counts mean nothing here.
const raceBuild = true
