package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
)

// peer is a server, or the kernel alone.
type peer struct {
	name  string // also of its folder
	title string

	// build installs the server in dir, a copy of its folder in the cache.
	build func(in *installer, dir string) error
	// command starts it on a port of 127.0.0.1.
	command func(dir string, port int) []string
	// version tells what runs, in a few words.
	version func(in *installer, dir string) string
	// missing is why a server cannot be compared, if that is known.
	missing string
	floor   bool
}

var peers = []peer{
	{
		name: "sockeye", title: "Sockeye (Go)",
		build: func(in *installer, dir string) error {
			return in.command(in.root, "go", "build", "-o", filepath.Join(dir, "server"), "./interop/server")
		},
		command: func(dir string, port int) []string {
			return []string{filepath.Join(dir, "server"), "-addr", "127.0.0.1:" + strconv.Itoa(port)}
		},
		version: func(in *installer, _ string) string {
			return in.revision() + ", " + in.output("", "go", "env", "GOVERSION")
		},
	},
	{
		name: "socketioxide", title: "socketioxide (Rust, axum)",
		build: func(in *installer, dir string) error {
			return in.command(dir, "cargo", "build", "--release", "--quiet")
		},
		command: atPort(func(dir string) []string { return []string{filepath.Join(dir, "target", "release", "peer")} }),
		version: func(in *installer, dir string) string {
			return pinned(dir, "Cargo.toml", `socketioxide = "(.*)"`) + ", " + in.output("", "rustc", "--version")
		},
	},
	{
		name: "node", title: "Socket.IO (Node.js, ws)",
		build: func(in *installer, dir string) error {
			return in.command(dir, "npm", "install", "--no-audit", "--no-fund", "--loglevel=error")
		},
		command: atPort(func(dir string) []string { return []string{"node", filepath.Join(dir, "server.js")} }),
		version: func(in *installer, dir string) string {
			return pinned(dir, "package.json", `"socket.io": "(.*)"`) + ", Node.js " + in.output("", "node", "--version")
		},
	},
	{
		name: "zishang520", title: "zishang520/socket.io (Go)",
		build:   func(in *installer, dir string) error { return in.command(dir, "go", "build", "-o", "server", ".") },
		command: atPort(func(dir string) []string { return []string{filepath.Join(dir, "server")} }),
		version: func(in *installer, dir string) string {
			return pinned(dir, "go.mod", `servers/socket/v3 (v\S+)`) + ", " + in.output("", "go", "env", "GOVERSION")
		},
	},
	{
		name: "python-socketio", title: "python-socketio (asyncio, uvicorn)",
		build: buildVenv, command: inVenv,
		version: func(in *installer, dir string) string {
			return pinned(dir, "requirements.txt", `python-socketio==(.*)`) + ", " + in.output("", "python3", "--version")
		},
	},
	{
		name: "flask-socketio", title: "Flask-SocketIO (gevent)",
		build: buildVenv, command: inVenv,
		version: func(in *installer, dir string) string {
			return pinned(dir, "requirements.txt", `Flask-SocketIO==(.*)`) + ", " + in.output("", "python3", "--version")
		},
	},
	{
		name: "uws", title: "Socket.IO (Node.js, uWebSockets.js)",
		missing: "uWebSockets.js is not published in npm's registry",
	},
	{
		name: "eiows", title: "Socket.IO (Node.js, eiows)",
		missing: "eiows builds against a checkout of Node.js, which no package registry has",
	},
	{
		name: "floor", title: "the kernel alone", floor: true,
		build: func(in *installer, dir string) error {
			return in.command(filepath.Join(in.root, "bench", "peers"), "go", "build", "-o", filepath.Join(dir, "floor"), "./floor")
		},
		version: func(*installer, string) string { return kernel() },
	},
}

func peerNames() []string {
	var names []string
	for _, p := range peers {
		names = append(names, p.name)
	}
	return names
}

// atPort is a command with the port as its last argument.
func atPort(command func(dir string) []string) func(string, int) []string {
	return func(dir string, port int) []string { return append(command(dir), strconv.Itoa(port)) }
}

var inVenv = atPort(func(dir string) []string {
	return []string{filepath.Join(dir, "venv", "bin", "python"), filepath.Join(dir, "server.py")}
})

func buildVenv(in *installer, dir string) error {
	if err := in.command(dir, "python3", "-m", "venv", "venv"); err != nil {
		return err
	}
	return in.command(dir, filepath.Join("venv", "bin", "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt")
}

// pinned is the version that a peer's own file asks for.
func pinned(dir, file, pattern string) string {
	b, _ := os.ReadFile(filepath.Join(dir, file))
	if m := regexp.MustCompile(pattern).FindSubmatch(b); m != nil {
		return string(m[1])
	}
	return "?"
}
