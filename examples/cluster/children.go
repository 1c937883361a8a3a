package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	// startTime is how long a process has until it is ready.
	startTime = 15 * time.Second
	// endTime is how long a process has that is told to end; it needs less.
	endTime = 8 * time.Second
	// restartEvery is the least time between two starts of a process.
	restartEvery = time.Second
)

// child is a process of this program's.
type child struct {
	cmd   *exec.Cmd
	leash io.Closer     // its standard input: it ends when that does, also with the parent
	ended chan struct{} // closed when it has
}

// startChild starts one and waits for its first line, which says that it is ready.
func startChild(args ...string) (*child, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	c := &child{cmd: exec.Command(self, args...), ended: make(chan struct{})}
	c.cmd.Stderr = os.Stderr
	if c.leash, err = c.cmd.StdinPipe(); err != nil {
		return nil, "", err
	}
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		err = c.cmd.Start()
	}
	if err != nil {
		return nil, "", err
	}
	slow := time.AfterFunc(startTime, func() { _ = c.cmd.Process.Kill() })
	line, readErr := bufio.NewReader(out).ReadString('\n')
	slow.Stop()
	go func() {
		_ = c.cmd.Wait()
		close(c.ended)
	}()
	if readErr != nil {
		c.end()
		return nil, "", fmt.Errorf("%v", c.cmd.ProcessState)
	}
	return c, strings.TrimSpace(line), nil
}

// end tells it to end, and waits until it has.
func (c *child) end() {
	_ = c.leash.Close()
	select {
	case <-c.ended:
	case <-time.After(endTime):
		_ = c.cmd.Process.Kill()
		<-c.ended
	}
}

// keep starts another one whenever a child has ended by itself, until ctx is done.
func keep(ctx context.Context, name string, c *child, args ...string) {
	for {
		again := time.After(restartEvery)
		if c != nil {
			select {
			case <-c.ended:
				_ = c.leash.Close()
				log.Printf("%s, pid %d, has ended: %v", name, c.cmd.Process.Pid, c.cmd.ProcessState)
			case <-ctx.Done():
				c.end()
				return
			}
		}
		select {
		case <-again:
		case <-ctx.Done():
			return
		}
		var err error
		if c, _, err = startChild(args...); err != nil {
			log.Printf("%s does not start: %v", name, err)
			continue
		}
		log.Printf("%s is pid %d", name, c.cmd.Process.Pid)
	}
}

// untilTold is done when a child is to end. A terminal's Ctrl-C comes to it, too, and is
// the parent's.
func untilTold() (context.Context, context.CancelFunc) {
	signal.Ignore(syscall.SIGINT)
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	return ctx, cancel
}
