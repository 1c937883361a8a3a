// Package page is the chat's page, and the small Socket.IO client that it uses.
package page

import "embed"

//go:embed *.html *.css *.js
var Files embed.FS
