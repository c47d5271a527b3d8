package auth

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	minSecret  = 32       // bytes of an HS256 secret (RFC 7518 §3.2)
	minRSABits = 2048     // of an RS256 key (RFC 7518 §3.3)
	maxKeyFile = 64 << 10 // bytes
)

// JWTKey is one key that signs JWTs, and the one algorithm that it is for.
type JWTKey struct {
	// ID is the "kid" of the tokens that it signs. With several keys each needs one of its own. A single key with an
	// ID also takes tokens without "kid"; without an ID it takes any "kid".
	ID string
	// Algorithm is HS256, RS256, ES256 (curve P-256) or EdDSA (Ed25519).
	Algorithm string
	// File holds, for HS256, the secret itself, at least 32 bytes, white space at its end left out; otherwise one
	// public key in PEM (PKIX, or PKCS #1 for RSA). It is read once, by New.
	File string
}

type verifyKey struct {
	id        string
	algorithm string
	key       any // what the jwt package wants for the algorithm
}

func loadKeys(list []JWTKey) ([]verifyKey, error) {
	var keys []verifyKey
	seen := map[string]bool{}
	for _, k := range list {
		if len(list) > 1 && k.ID == "" {
			return nil, fmt.Errorf("%w: several keys need an id (kid) each", ErrInvalid)
		}
		if seen[k.ID] {
			return nil, fmt.Errorf("%w: two keys with id %q", ErrInvalid, k.ID)
		}
		seen[k.ID] = true
		key, err := loadKey(k)
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", k.File, err)
		}
		keys = append(keys, verifyKey{k.ID, k.Algorithm, key})
	}
	return keys, nil
}

func loadKey(k JWTKey) (any, error) {
	f, err := os.Open(k.File)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if len(data) > maxKeyFile {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrInvalid, maxKeyFile)
	}
	switch k.Algorithm {
	case "HS256":
		return secretKey(data)
	case "RS256", "ES256", "EdDSA":
		return publicKey(k.Algorithm, data)
	}
	return nil, fmt.Errorf("%w: algorithm %q is not one of HS256, RS256, ES256, EdDSA", ErrInvalid, k.Algorithm)
}

func secretKey(data []byte) (any, error) {
	secret := bytes.TrimRight(data, " \t\r\n")
	if len(secret) < minSecret {
		return nil, fmt.Errorf("%w: a secret of %d bytes, at least %d are needed", ErrInvalid, len(secret), minSecret)
	}
	if block, _ := pem.Decode(data); block != nil {
		return nil, fmt.Errorf("%w: a PEM file is no secret for HS256", ErrInvalid)
	}
	return secret, nil
}

func publicKey(algorithm string, data []byte) (any, error) {
	block, rest := pem.Decode(data)
	switch {
	case block == nil:
		return nil, fmt.Errorf("%w: no PEM", ErrInvalid)
	case len(bytes.TrimSpace(rest)) > 0:
		return nil, fmt.Errorf("%w: more than one key", ErrInvalid)
	}
	var key any
	var err error
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	default:
		err = fmt.Errorf("%w: PEM of type %q, a public key is needed", ErrInvalid, block.Type)
	}
	if err != nil {
		return nil, err
	}
	if err := suits(algorithm, key); err != nil {
		return nil, err
	}
	return key, nil
}

// suits says why a key cannot be used with an algorithm.
func suits(algorithm string, key any) error {
	var problem error
	switch k := key.(type) {
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); algorithm == "RS256" && bits < minRSABits {
			problem = fmt.Errorf("%d bits, at least %d are needed", bits, minRSABits)
		} else if algorithm != "RS256" {
			problem = errors.New("an RSA key is for RS256")
		}
	case *ecdsa.PublicKey:
		if algorithm != "ES256" || k.Curve != elliptic.P256() {
			problem = errors.New("an ECDSA key is for ES256, with curve P-256")
		}
	case ed25519.PublicKey:
		if algorithm != "EdDSA" {
			problem = errors.New("an Ed25519 key is for EdDSA")
		}
	default:
		problem = errors.New("a kind of key that is not used here")
	}
	if problem != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, problem)
	}
	return nil
}
