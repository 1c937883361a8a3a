// Package bench measures: codecs, fan-out, echo, connecting, and the memory of
// an idle connection. README.md tells how to run it and how to read it.
package bench
