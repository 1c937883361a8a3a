//go:build race

package netpoll

// raceBuild: allocation counts mean nothing here.
const raceBuild = true
