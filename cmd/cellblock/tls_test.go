package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cellblock.io/cellblock/internal/config"
)

// selfSigned writes a certificate for a name that is not this machine's address, and its key.
func selfSigned(t *testing.T) config.TLS {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cells.example.org"}, DNSNames: []string{"cells.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	files := config.TLS{Cert: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	for path, block := range map[string]*pem.Block{
		files.Cert: {Type: "CERTIFICATE", Bytes: certificate}, files.Key: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return files
}

func TestListenWithTLS(t *testing.T) {
	cfg := config.Config{Listen: "127.0.0.1:0", BaseURL: "/cells/", TLS: selfSigned(t)}
	ln, err := listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: healthz(wellBody)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ln) }()
	defer func() {
		server.Close()
		<-ended
	}()
	cfg.Listen = ln.Addr().String()
	s := state{URL: localAddress(cfg)}
	if err := s.ask(t.Context(), cfg); err != nil || s.Status != "degraded" {
		t.Errorf("%+v, %v", s, err)
	}
	cfg.TLS = selfSigned(t)
	if err := s.ask(t.Context(), cfg); err == nil {
		t.Error("another certificate is accepted")
	}
}
