package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"cellblock.io/cellblock/internal/config"
)

// takePlaces makes the directories and, for a gateway with a private Redis, takes the lock that keeps a second one from
// ending that Redis under the first. release gives the lock back; so does the process's end, however it comes.
func takePlaces(cfg config.Config) (release func(), err error) {
	for key, dir := range map[string]string{"state_dir": cfg.StateDir, "run_dir": cfg.RunDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("make %s: %w; name a directory of this user's, or run as the user for whom deploy/up made it", key, err)
		}
	}
	if cfg.Redis.URL != "" {
		return func() {}, nil
	}
	lock, err := os.OpenFile(filepath.Join(cfg.RunDir, "serve.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fs.ErrPermission) {
		// Also root cannot open another user's file for writing there: the directory is sticky.
		return nil, fmt.Errorf("%s belongs to another user, as whom the gateway runs: deploy/up starts it, cellblock status says how it is", cfg.RunDir)
	}
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("another gateway runs in %s: stop it first; several gateways side by side need one Redis for all, see redis.url", cfg.RunDir)
		}
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return func() { lock.Close() }, nil
}

// listen opens the gateway's address.
func listen(cfg config.Config) (net.Listener, error) {
	settings, err := loadTLS(cfg)
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if settings != nil {
		return tls.NewListener(ln, settings), nil
	}
	return ln, nil
}

// loadTLS reads the certificate and its key; nil where the gateway speaks plain HTTP.
func loadTLS(cfg config.Config) (*tls.Config, error) {
	if cfg.TLS.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cfg.TLS.Cert, cfg.TLS.Key)
	if err != nil {
		return nil, fmt.Errorf("load tls.cert and tls.key: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}, nil
}

// origins are those of allow_origins and the gateway's public one.
func origins(cfg config.Config) []string {
	list := cfg.AllowOrigins
	if u, err := url.Parse(cfg.PublicURL); err == nil && u.Host != "" {
		list = append(list[:len(list):len(list)], u.Scheme+"://"+u.Host)
	}
	return list
}

// hosts are the names of this machine, which need no mention in the configuration.
func hosts() []string {
	name, err := os.Hostname()
	if err != nil {
		return nil
	}
	return []string{strings.ToLower(name)} // as browsers write it
}

// proxies reads addresses and networks that the configuration's check has let pass.
func proxies(texts []string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			list = append(list, p.Masked())
		} else if a, err := netip.ParseAddr(text); err == nil {
			list = append(list, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	return list
}
