package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// refused is an address (of the networks for benchmarks) that the filter refuses and that nobody has.
const refused = "198.18.255.254:9"

// checkFilter sends a packet that the filter must refuse. A container in which it goes through, or in which nobody can
// tell, must not run anything.
func checkFilter() error {
	conn, err := net.Dial("udp4", refused)
	if err == nil {
		_, err = conn.Write([]byte{0})
		conn.Close()
	}
	if errors.Is(err, syscall.EPERM) {
		return nil
	}
	return fmt.Errorf("the packet filter is not in force (%v): does hooks_dir in containers.conf name the directory that deploy/up makes?", err)
}
