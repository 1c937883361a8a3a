package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const redisSocket = "redis.sock"

// haveRedis tells what to do if there is no Redis.
func haveRedis() error {
	if _, err := exec.LookPath("redis-server"); err != nil {
		return errors.New("there is no redis-server on this machine: install it (apt install redis-server, brew install redis), or name one that runs: -redis redis://127.0.0.1:6379")
	}
	return nil
}

// serveRedis runs a redis-server on a Unix socket, which keeps nothing on disk.
func serveRedis(dir string) error {
	ctx, cancel := untilTold()
	defer cancel()
	socket := filepath.Join(dir, redisSocket)
	cmd := exec.CommandContext(ctx, "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir, "--logfile", "redis.log")
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endTime / 2
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a terminal's Ctrl-C is not for it
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		select {
		case err := <-ended:
			return err
		case <-tick.C:
		}
		if reach(ctx, "unix://"+socket) == nil {
			tick.Stop()
			fmt.Println("ready")
			break
		}
	}
	if err := <-ended; ctx.Err() == nil {
		return fmt.Errorf("redis-server has ended: %w", err)
	}
	return nil
}
