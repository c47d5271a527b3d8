package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

const (
	address    = "127.0.0.1:3128"
	self       = "/proc/self/exe"
	listenerFD = 3
	maxConns   = 128 // the proxy takes no more from one kernel
	bufferSize = 16 << 10
)

// startServing opens the address, so that it is there before the image's command, and leaves a process behind that
// serves it. That process is nobody's child: a kernel that waits for its children must not meet one that is not its own.
func startServing(socket string) error {
	ln, err := net.Listen("tcp4", address)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer ln.Close()
	file, err := ln.(*net.TCPListener).File()
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer file.Close()
	between := exec.Command(self, "--detach", socket)
	between.ExtraFiles = []*os.File{file}
	between.Stderr = os.Stderr
	return between.Run()
}

func detach(socket string) error {
	server := exec.Command(self, "--serve", socket)
	server.ExtraFiles = []*os.File{os.NewFile(listenerFD, "listener")}
	server.Env = []string{"GOMAXPROCS=1", "GOGC=50"}
	server.Dir = "/"
	server.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return server.Start()
}

// serve takes each connection to the socket until the container ends.
func serve(socket string) error {
	ln, err := net.FileListener(os.NewFile(listenerFD, "listener"))
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	return serveOn(ln, socket)
}

func serveOn(ln net.Listener, socket string) error {
	slots := make(chan struct{}, maxConns)
	for {
		slots <- struct{}{}
		conn, err := ln.Accept()
		if err != nil {
			return fmt.Errorf("accept: %w", err)
		}
		go func() {
			defer func() { <-slots }()
			carry(conn.(*net.TCPConn), socket)
		}()
	}
}

const unreachable = "Cellblock: the proxy is not there at the moment. Try again soon.\n"

// carry copies both ways until both have ended.
func carry(conn *net.TCPConn, socket string) {
	defer conn.Close()
	proxy, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		fmt.Fprintf(conn, "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(unreachable), unreachable)
		// What was asked is read: closing before would take the answer back.
		_ = conn.CloseWrite()
		_ = conn.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, io.LimitReader(conn, 1<<20))
		return
	}
	defer proxy.Close()
	var back sync.WaitGroup
	back.Go(func() {
		pass(conn, proxy)
		_ = conn.CloseWrite()
	})
	pass(proxy, conn)
	_ = proxy.CloseWrite()
	back.Wait()
}

// pass copies by reading and writing: the system calls that net would use are not open to kernels.
func pass(to io.Writer, from io.Reader) {
	_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, bufferSize)) // who is left learns it by the end
}
