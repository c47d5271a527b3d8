package prove

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// maxKnock bounds what a listener reads of whoever connects.
const maxKnock = 256

// listeners opens a listener of each kind. Whoever connects to one gets a secret, and is written down.
func (p *plant) listeners() error {
	for _, address := range addresses() {
		if err := p.tcp(address); err != nil {
			p.missing = append(p.missing, "no listener at "+address+": "+err.Error())
		}
	}
	if err := p.stream("unix", "@"+p.mark, "a socket without a file"); err != nil {
		return err
	}
	p.targets.Abstract = append(p.targets.Abstract, p.mark)
	path := filepath.Join(p.open, "socket")
	p.targets.Unix = append(p.targets.Unix, path)
	return p.stream("unix", path, "a socket in the machine's temporary directory")
}

// tcp listens at a port of an address, for connections and for datagrams.
func (p *plant) tcp(address string) error {
	ln, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return err
	}
	where := address
	if !net.ParseIP(address).IsLoopback() { // which it is, is nobody's business who reads the report
		where = "another address of the machine"
	}
	p.accept(ln, "a service at "+where)
	port := ln.Addr().(*net.TCPAddr).Port
	p.targets.TCP = append(p.targets.TCP, [2]any{address, port})
	packets, err := net.ListenPacket("udp", net.JoinHostPort(address, "0"))
	if err != nil {
		return err
	}
	p.undo = append(p.undo, func() { packets.Close() })
	go p.hear(packets, "a service for datagrams at "+where)
	p.targets.UDP = append(p.targets.UDP, [2]any{address, packets.LocalAddr().(*net.UDPAddr).Port})
	return nil
}

func (p *plant) stream(network, address, name string) error {
	ln, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	p.accept(ln, name)
	if !strings.HasPrefix(address, "@") {
		return os.Chmod(address, 0o777)
	}
	return nil
}

// accept serves a listener until remove closes it.
func (p *plant) accept(ln net.Listener, name string) {
	secret := p.secret(name)
	p.undo = append(p.undo, func() { ln.Close() })
	go func() {
		for {
			conn, err := ln.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue
			}
			go p.answer(conn, name, secret)
		}
	}()
}

func (p *plant) answer(conn net.Conn, name, secret string) {
	defer conn.Close()
	if conn.SetDeadline(time.Now().Add(2*time.Second)) != nil {
		return
	}
	knock := make([]byte, maxKnock)
	n, _ := conn.Read(knock) // whoever says nothing is written down as well
	p.note(name, string(knock[:n]))
	_, _ = conn.Write([]byte(secret))
}

func (p *plant) hear(packets net.PacketConn, name string) {
	buffer := make([]byte, maxKnock)
	for {
		n, _, err := packets.ReadFrom(buffer)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.note(name, string(buffer[:n]))
		}
	}
}

// note writes a contact down. Who does not know the word of this run is somebody else, such as a scanner of ports.
func (p *plant) note(where, said string) {
	probe, ok := strings.CutPrefix(said, p.knock+" ")
	p.mu.Lock()
	defer p.mu.Unlock()
	if !ok {
		probe = ""
	}
	p.contacts = append(p.contacts, contact{where, probe})
}

// heard returns the contacts since the last call.
func (p *plant) heard() []contact {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.contacts
	p.contacts = nil
	return list
}
