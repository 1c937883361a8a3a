//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// busResults are what bus has measured: raw Redis and NATS, each on one core.
type busResults struct {
	Machine machine   `json:"machine"`
	Redis   string    `json:"redis"`
	NATS    string    `json:"nats"`
	Bytes   int       `json:"message_bytes"`
	Rounds  int       `json:"rounds"`
	Rows    []*busRow `json:"rows"`
}

type busRow struct {
	Bus         string  `json:"bus"`
	Subscribers int     `json:"subscribers"` // servers that get each message
	Rate        float64 `json:"messages_per_s"`
	CPU         float64 `json:"cpu_us_per_message"`
}

const (
	busBytes = 160 // the part of a message that is Socket.IO's: 100 bytes of text and what is around it
	busBatch = 16  // messages that a busy server sends at once
	busAhead = 64  // batches that subscribers may be behind
)

// dialect is how a bus is spoken to.
type dialect struct {
	name             string
	subscribe        string // a subscription, and
	subscribed       string // the last line of its answer
	batch            string // busBatch messages, and
	answers          int    // how many lines of answer
	message          int    // bytes that a subscriber reads of each
	startOn          func(ctx context.Context, c *config) (p *process, addr string, err error)
	greetingOfServer bool
}

func dialects() []dialect {
	body := strings.Repeat("x", busBytes)
	redis := dialect{
		name: "Redis", subscribe: "*2\r\n$9\r\nsubscribe\r\n$12\r\nsocket.io#/#\r\n", subscribed: ":1",
		batch:   strings.Repeat(fmt.Sprintf("*3\r\n$7\r\npublish\r\n$12\r\nsocket.io#/#\r\n$%d\r\n%s\r\n", len(body), body), busBatch),
		answers: busBatch, message: len(fmt.Sprintf("*3\r\n$7\r\nmessage\r\n$12\r\nsocket.io#/#\r\n$%d\r\n%s\r\n", len(body), body)),
		startOn: startRawRedis,
	}
	nats := dialect{
		name: "NATS", subscribe: "CONNECT {\"verbose\":false}\r\nSUB socketio.room 1\r\nPING\r\n", subscribed: "PONG",
		batch:   strings.Repeat(fmt.Sprintf("PUB socketio.room %d\r\n%s\r\n", len(body), body), busBatch) + "PING\r\n",
		answers: 1, message: len(fmt.Sprintf("MSG socketio.room 1 %d\r\n%s\r\n", len(body), body)),
		startOn: startNATS, greetingOfServer: true,
	}
	return []dialect{redis, nats}
}

func startRawRedis(ctx context.Context, c *config) (*process, string, error) {
	for range 10 { // somebody may take the port
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, "", err
		}
		addr := l.Addr().String()
		_ = l.Close()
		_, port, _ := net.SplitHostPort(addr)
		p, err := start(ctx, c.serverCore, "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
			"--dir", filepath.Dir(c.load), "--logfile", "", "--client-output-buffer-limit", "pubsub 0 0 0")
		if err != nil {
			return nil, "", err
		}
		for line := ""; err == nil; {
			if line, err = p.line(); strings.Contains(line, "Ready to accept connections") {
				return p, addr, nil
			}
		}
		p.end()
	}
	return nil, "", errors.New("redis-server does not start")
}

func startNATS(ctx context.Context, c *config) (*process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	p, err := start(ctx, c.serverCore, self, "nats")
	if err != nil {
		return nil, "", err
	}
	addr, err := p.line()
	return p, addr, err
}

// serveNATS is a NATS server, as nats-server is; it ends with its input.
func serveNATS() error {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(endTime) {
		return errors.New("it does not start")
	}
	fmt.Println(s.Addr())
	_, _ = io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	return nil
}

// bus finds what a message costs each bus that goes to so many servers.
func bus(ctx context.Context, c *config) error {
	res := &busResults{Machine: describe(), NATS: server.VERSION, Bytes: busBytes, Rounds: c.rounds}
	r, err := c.startRedis(ctx, -1)
	if err != nil {
		return err
	}
	res.Redis = r.usage(ctx).version
	r.stop()
	for _, d := range dialects() {
		for _, n := range []int{1, 4, 16, 64, 256} {
			res.Rows = append(res.Rows, &busRow{Bus: d.name, Subscribers: n})
		}
	}
	rates, cpus := make([][]float64, len(res.Rows)), make([][]float64, len(res.Rows))
	for range c.rounds {
		for i, row := range res.Rows {
			d := dialects()[i*2/len(res.Rows)]
			rate, cpu, err := d.measure(ctx, c, row.Subscribers)
			if err != nil {
				return fmt.Errorf("%s, %d: %w", d.name, row.Subscribers, err)
			}
			rates[i], cpus[i] = append(rates[i], rate), append(cpus[i], cpu)
			row.Rate, row.CPU = median(rates[i]), median(cpus[i])
			progress("%s, %d subscribers: %.0f messages a second, %.2f µs each", d.name, row.Subscribers, rate, cpu)
		}
	}
	fmt.Print(res.table())
	return save(c.out, "bus.json", res)
}

func (d *dialect) dial(ctx context.Context, addr string) (net.Conn, *bufio.Reader, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	return conn, bufio.NewReaderSize(conn, 1<<16), nil
}

// measure has one publisher, and so many subscribers: messages a second, and the bus's CPU
// time, in microseconds, of one.
func (d *dialect) measure(ctx context.Context, c *config, n int) (rate, cpu float64, err error) {
	p, addr, err := d.startOn(ctx, c)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		_ = p.cmd.Process.Kill()
		p.end()
	}()
	got := make([]atomic.Int64, n) // bytes
	var readers sync.WaitGroup
	defer readers.Wait()
	for i := range n {
		conn, in, err := d.dial(ctx, addr)
		if err != nil {
			return 0, 0, err
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, d.subscribe); err != nil {
			return 0, 0, err
		}
		for line := ""; line != d.subscribed; line = strings.TrimSpace(line) {
			if line, err = in.ReadString('\n'); err != nil {
				return 0, 0, err
			}
		}
		readers.Go(func() {
			b := make([]byte, 1<<16)
			for {
				k, err := in.Read(b)
				if err != nil {
					return
				}
				got[i].Add(int64(k))
			}
		})
	}
	conn, in, err := d.dial(ctx, addr)
	if err != nil {
		return 0, 0, err
	}
	defer func() { _ = conn.Close() }()
	if d.greetingOfServer {
		if _, err := io.WriteString(conn, "CONNECT {\"verbose\":false}\r\n"); err != nil {
			return 0, 0, err
		}
		if _, err := in.ReadString('\n'); err != nil {
			return 0, 0, err
		}
	}
	sent := int64(0)
	publish := func(end time.Time) error {
		for time.Now().Before(end) && ctx.Err() == nil {
			if _, err := io.WriteString(conn, d.batch); err != nil {
				return err
			}
			for range d.answers {
				if _, err := in.ReadSlice('\n'); err != nil {
					return err
				}
			}
			sent += busBatch
			for i := range got { // nobody is far behind
				for (sent-busBatch*busAhead)*int64(d.message) > got[i].Load() && time.Now().Before(end) {
					time.Sleep(20 * time.Microsecond)
				}
			}
		}
		return ctx.Err()
	}
	if err := publish(time.Now().Add(500 * time.Millisecond)); err != nil {
		return 0, 0, err
	}
	ps := pids{p.pid()}
	begin, before := time.Now(), sent
	cpu = ps.cpu()
	if err := publish(begin.Add(c.dur)); err != nil {
		return 0, 0, err
	}
	seconds, messages := time.Since(begin).Seconds(), float64(sent-before)
	cpu = ps.cpu() - cpu
	return messages / seconds, cpu / messages * 1e6, nil
}
