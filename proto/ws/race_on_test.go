//go:build race

package ws

// raceBuild: allocation counts mean nothing here.
const raceBuild = true
