package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// child is a process that this one started. Its group ends with stop or Ctrl-C, and the kernel ends it with us.
type child struct {
	cmd   *exec.Cmd
	watch func() bool // stops watching for Ctrl-C

	mu     sync.Mutex
	reaped bool
}

// begin starts a command in a group of its own.
func (b *bench) begin(name string, args ...string) (*child, *bufio.Reader, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = b.dir
	cmd.Stderr = b.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	c := &child{cmd: cmd}
	c.watch = context.AfterFunc(b.ctx, c.kill)
	return c, bufio.NewReader(out), nil
}

// self starts a part of this program in a process of its own and reads its first line.
func (b *bench) self(part string, args ...string) (*child, string, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	c, out, err := b.begin(exe, append([]string{part}, args...)...)
	if err != nil {
		return nil, "", err
	}
	first, err := out.ReadString('\n')
	if err != nil {
		c.stop()
		return nil, "", fmt.Errorf("the part %s of bench said nothing", part)
	}
	return c, strings.TrimSpace(first), nil
}

// kill ends the group, by its id, unless stop has freed that id for others.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		syscall.Kill(-c.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// stop ends the group and waits for it.
func (c *child) stop() {
	c.watch()
	c.kill()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cmd.Wait()
	c.reaped = true
}

// fileServer serves one small file: nginx where it is installed, else a server in Go.
func (b *bench) fileServer() (url, name string, c *child, err error) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		nginx, err = exec.LookPath("/usr/sbin/nginx")
	}
	if err != nil {
		c, address, err := b.self("serve-file")
		return "http://" + address + "/small.txt", "a server in Go", c, err
	}
	port, err := freePort()
	if err != nil {
		return "", "", nil, err
	}
	config := fmt.Sprintf(`daemon off; master_process off; worker_processes 1; pid nginx.pid; error_log error.log;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 100000000; sendfile on; tcp_nopush on;
  client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3; uwsgi_temp_path t4; scgi_temp_path t5;
  server { listen 127.0.0.1:%d; root .; }
}
`, port)
	if err := os.WriteFile(filepath.Join(b.dir, "nginx.conf"), []byte(config), 0o644); err != nil {
		return "", "", nil, err
	}
	if err := os.WriteFile(filepath.Join(b.dir, "small.txt"), []byte(smallFile), 0o644); err != nil {
		return "", "", nil, err
	}
	if err := os.Chmod(b.dir, 0o755); err != nil {
		return "", "", nil, err
	}
	c, _, err = b.begin(nginx, "-p", b.dir, "-c", "nginx.conf", "-e", "error.log")
	if err != nil {
		return "", "", nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	if err := answers(b.ctx, address); err != nil {
		c.stop()
		return "", "", nil, err
	}
	return "http://" + address + "/small.txt", "nginx", c, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// answers waits until somebody accepts connections.
func answers(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return c.Close()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("the server did not start")
		}
	}
}

// pause waits, but for Ctrl-C.
func (b *bench) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.ctx.Done():
	}
}
