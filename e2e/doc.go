// Package e2e holds the end-to-end tests: real Jupyter clients against a whole gateway with its own Redis, Podman
// service and containers. They need the build tag "e2e", root, an instance made by deploy/up --prepare, and what
// e2e/setup installs; `make e2e` sees to all of it.
//
// The environment says where things are: E2E_CELLBLOCK is the built binary, E2E_INSTANCE the instance whose user and
// Podman storage are used, E2E_CACHE where e2e/setup put the clients, E2E_ARTEFACTS where logs and screenshots go
// (default: artefacts, beside the tests).
package e2e
