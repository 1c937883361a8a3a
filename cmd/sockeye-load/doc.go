// Command sockeye-load puts a Socket.IO server under load: any one that speaks protocol 5
// over Engine.IO 4, which Socket.IO 3 and 4, Flask-SocketIO 5 and Sockeye do. It runs on
// Linux.
//
//	sockeye-load [flags] URL
//
//	sockeye-load -connections 1000 -ramp 200 http://127.0.0.1:3000
//	sockeye-load -mode echo -event sum -rate 500 -html report.html ws://127.0.0.1:3000
//	sockeye-load -mode broadcast -event chat -senders 2 -rate 10 http://127.0.0.1:3000
//	sockeye-load -mode churn -transport polling http://127.0.0.1:3000
//	sockeye-load -stages 1000@200:30s,5000@500:1m,0@1000 https://example.org
//
// It prints what it has measured, writes it as JSON (-json) and as a page (-html), and ends
// with 1 if a threshold (-fail-...) is missed. docs/load.md tells how to use it, and what is
// measured how; docs/decisions/0019-load-tool.md what it does when the server is not well.
package main
