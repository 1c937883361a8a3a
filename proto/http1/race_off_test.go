//go:build !race

package http1

const raceBuild = false
