package main

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"

	"cellblock.io/cellblock/internal/config"
)

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
