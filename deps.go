//go:build deps

// Package cellblock keeps dependencies in go.mod until the code that uses them is in.
package cellblock

import (
	_ "github.com/containers/podman/v4/pkg/bindings/containers"
	_ "github.com/go-zeromq/zmq4"
	_ "github.com/golang-jwt/jwt/v5"
	_ "github.com/google/uuid"
	_ "github.com/gorilla/websocket"
	_ "github.com/prometheus/client_golang/prometheus"
	_ "github.com/redis/go-redis/v9"
	_ "github.com/spf13/cobra"
	_ "go.uber.org/goleak"
	_ "go.yaml.in/yaml/v3"
	_ "golang.org/x/sync/errgroup"
	_ "golang.org/x/sys/unix"
)
