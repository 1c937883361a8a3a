package nats_test

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// childEnv has this program be a NATS server, with these options.
const childEnv = "SOCKEYE_TEST_NATS"

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		os.Exit(serve(text))
	}
	if addr := os.Getenv(roamingEnv); addr != "" {
		os.Exit(serveRoaming(addr, os.Getenv(roamingEnv+"_NAME")))
	}
	if addr := os.Getenv(rivalEnv); addr != "" {
		os.Exit(serveRival(addr))
	}
	os.Exit(m.Run())
}

type serverOptions struct {
	Port int
	Dir  string // of JetStream
	Max  int32

	// Of a cluster's.
	Name   string
	Inner  int    // the port for the others
	Routes string // to all of them

	Publish, Subscribe []string // what everybody may, and nothing else; nil: all
}

// serve is a NATS server until it is killed.
func serve(text string) int {
	var o serverOptions
	if json.Unmarshal([]byte(text), &o) != nil {
		return 2
	}
	opts := &server.Options{Host: "127.0.0.1", Port: o.Port, NoLog: true, NoSigs: true, JetStream: o.Dir != "", StoreDir: o.Dir, MaxPayload: o.Max}
	if o.Name != "" {
		opts.ServerName, opts.Routes = o.Name, server.RoutesFromStr(o.Routes)
		opts.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: o.Inner}
	}
	if o.Publish != nil {
		opts.NoAuthUser = "anybody"
		opts.Users = []*server.User{{Username: opts.NoAuthUser, Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: o.Publish}, Subscribe: &server.SubjectPermission{Allow: o.Subscribe},
		}}}
	}
	s, err := server.NewServer(opts)
	if err != nil {
		return 2
	}
	go func() { // it ends with the test
		_, _ = os.Stdin.Read(make([]byte, 1))
		s.Shutdown()
		os.Exit(0)
	}()
	s.Start()
	s.WaitForShutdown()
	return 0
}

// natsServer is a NATS server in a process of its own, which can be killed.
type natsServer struct {
	o    serverOptions
	cmd  *exec.Cmd
	ends func()
}

// freePort is a port that nobody has at present.
func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func startServer(t testing.TB, jetStream bool, more ...func(o *serverOptions)) *natsServer {
	t.Helper()
	s := &natsServer{o: serverOptions{Port: freePort(t), Max: 1 << 20}}
	if jetStream {
		s.o.Dir = t.TempDir()
	}
	for _, f := range more {
		f(&s.o)
	}
	s.start(t)
	t.Cleanup(func() { s.kill() })
	return s
}

func (s *natsServer) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.o.Port)) }

// start starts it, and waits until it takes connections, and, alone, has JetStream.
func (s *natsServer) start(t testing.TB) {
	t.Helper()
	s.launch(t)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		nc, err := nats.Connect("nats://"+s.addr(), nats.MaxReconnects(0))
		if err == nil {
			ready := true
			if s.o.Dir != "" && s.o.Name == "" { // a bit later
				_, err := nc.Request("$JS.API.INFO", nil, 100*time.Millisecond)
				ready = err == nil
			}
			nc.Close()
			if ready {
				return
			}
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

// launch starts it.
func (s *natsServer) launch(t testing.TB) {
	t.Helper()
	text, _ := json.Marshal(s.o)
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	stdin, err := s.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.ends = func() { _ = stdin.Close() }
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

// kill is kill -9.
func (s *natsServer) kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.ends()
}

// stop ends it in order.
func (s *natsServer) stop(t testing.TB) {
	t.Helper()
	s.ends()
	_ = s.cmd.Wait()
}

// connect connects to an address as a user would, but with less patience.
func connect(t testing.TB, addr string, o ...nats.Option) *nats.Conn {
	t.Helper()
	o = append([]nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(time.Millisecond, time.Millisecond), nats.Timeout(10 * time.Second), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}, o...)
	nc, err := nats.Connect("nats://"+addr, o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}
