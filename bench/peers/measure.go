package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// cell is one measurement of a server.
type cell struct {
	id, title string
	n         int
	args      []string // of the load client
	coalesce  int      // messages in a write of the kernel's row; 0 if it has none
}

var cells = []cell{
	{"bcast-1k-w4", "broadcast to 1,000, window 4", 1000, []string{"-mode", "bcast", "-window", "4"}, 4},
	{"bcast-1k-w1", "broadcast to 1,000, window 1", 1000, []string{"-mode", "bcast", "-window", "1"}, 1},
	{"bcast-10k-w2", "broadcast to 10,000, window 2", 10000, []string{"-mode", "bcast", "-window", "2"}, 2},
	{"echo-1k", "echo, 1,000 at once", 1000, []string{"-mode", "echo", "-window", "1"}, 0},
	{"polling-500", "broadcast to 500 long-polls, window 1", 500, []string{"-mode", "bcast", "-transport", "polling", "-window", "1"}, 0},
}

// capacityCell is where memory of a connection and CPU of connecting are taken.
const capacityCell = "bcast-10k-w2"

// skips tells that the kernel's row has nothing in this cell.
func (c cell) skips(p peer) bool { return p.floor && c.coalesce == 0 }

// figures are what one run of the load client says; see bench/load/README.md.
type figures struct {
	CPU         float64 `json:"server_cpu_us_per_delivery"`
	Rate        float64 `json:"deliveries_per_s"`
	P50         float64 `json:"p50_ms,omitempty"`
	P99         float64 `json:"p99_ms,omitempty"`
	Bytes       float64 `json:"bytes_per_conn,omitempty"`
	BytesAfter  float64 `json:"bytes_per_conn_after,omitempty"`
	ConnectCPU  float64 `json:"connect_cpu_us,omitempty"`
	ServerLoad  float64 `json:"server_cpu_pct,omitempty"`
	ClientCPU   float64 `json:"client_cpu_us_per_delivery,omitempty"`
	Undelivered float64 `json:"undelivered_after_drain,omitempty"`
}

// measure runs one cell for one server, which is started for it.
func (in *installer) measure(p peer, c cell) (f figures, err error) {
	err = in.locked(func() error {
		if p.floor {
			f, err = in.measureFloor(c)
		} else {
			f, err = in.measureServer(p, c)
		}
		return err
	})
	return f, err
}

// messageBytes is what the load client's message of 100 bytes takes on the wire.
const messageBytes = "120"

func (in *installer) measureFloor(c cell) (figures, error) {
	cmd := exec.CommandContext(in.ctx, filepath.Join(in.cache, "floor", "floor"),
		"-n", strconv.Itoa(c.n), "-bytes", messageBytes, "-coalesce", strconv.Itoa(c.coalesce), "-dur", in.dur.String(),
		"-core", strconv.Itoa(in.serverCore), "-reader-core", strconv.Itoa(in.clientCore))
	out, err := cmd.CombinedOutput()
	if err != nil {
		return figures{}, fmt.Errorf("%w: %s", err, in.tell(out))
	}
	var said struct {
		CPU  float64 `json:"cpu_us_per_message"`
		Rate float64 `json:"messages_per_s"`
	}
	err = json.Unmarshal(out, &said)
	return figures{CPU: said.CPU, Rate: said.Rate}, err
}

func (in *installer) measureServer(p peer, c cell) (figures, error) {
	s, err := in.start(p)
	if err != nil {
		return figures{}, err
	}
	defer s.stop()
	args := append([]string{
		"-c", strconv.Itoa(in.clientCore), in.load, "-json", "-label", p.name,
		"-addr", "127.0.0.1:" + strconv.Itoa(s.port), "-pid", strconv.Itoa(s.cmd.Process.Pid),
		"-n", strconv.Itoa(c.n), "-dur", in.dur.String(), "-settle", in.settle.String(),
	}, c.args...)
	cmd := exec.CommandContext(in.ctx, "taskset", args...)
	out, failed := cmd.Output()
	var said struct {
		figures
		Error string
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return figures{}, errors.Join(failed, err)
	}
	select {
	case <-s.ended:
		return figures{}, fmt.Errorf("the server died: %s", s.lastWords())
	default:
	}
	if failed != nil || said.Error != "" {
		return figures{}, fmt.Errorf("%s", strings.TrimSpace(said.Error))
	}
	if said.Rate == 0 {
		return figures{}, errors.New("no message arrived while measuring")
	}
	return said.figures, nil
}

// server is a running server.
type server struct {
	in    *installer
	cmd   *exec.Cmd
	port  int
	log   *os.File
	ended chan struct{}
}

// startTime is how long a server may take until it accepts connections.
const startTime = 20 * time.Second

// start starts a server on its core and waits until it accepts connections.
func (in *installer) start(p peer) (*server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(in.cache, p.name+".log"))
	if err != nil {
		return nil, err
	}
	// taskset becomes the server, so its process id is the server's.
	args := append([]string{"-c", strconv.Itoa(in.serverCore)}, p.command(filepath.Join(in.cache, p.name), port)...)
	s := &server{in: in, cmd: exec.Command("taskset", args...), port: port, log: log, ended: make(chan struct{})}
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Env = append(os.Environ(), "NODE_ENV=production")
	if err := s.cmd.Start(); err != nil {
		log.Close()
		return nil, err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.ended)
	}()
	for begin := time.Now(); time.Since(begin) < startTime && in.ctx.Err() == nil; {
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(port), time.Second)
		if err == nil {
			conn.Close()
			time.Sleep(500 * time.Millisecond) // until it has done what starting brings along
			return s, nil
		}
		select {
		case <-s.ended:
			defer s.stop()
			return nil, fmt.Errorf("the server did not start: %s", s.lastWords())
		case <-time.After(50 * time.Millisecond):
		}
	}
	s.stop()
	return nil, errors.New("the server did not start in time")
}

// stop ends the server.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(5 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	s.log.Close()
}

// lastWords is what a server printed, as far as it tells why it has ended.
func (s *server) lastWords() string {
	b, _ := os.ReadFile(s.log.Name())
	if len(bytes.TrimSpace(b)) == 0 {
		return s.cmd.ProcessState.String()
	}
	return s.in.tell(b)
}

// freePort is a port that nobody listens on.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
