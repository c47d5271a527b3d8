package podmanservice_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary stand in for the podman program.
func TestMain(m *testing.M) {
	if i := slices.Index(os.Args, "service"); i > 0 {
		os.Exit(program(os.Args[i+1:]))
	}
	goleak.VerifyTestMain(m)
}

// program behaves as "podman system service --time=0 unix://SOCKET" does; FAKE_PODMAN=broken makes it fail as it does
// for a user without subordinate ids.
func program(args []string) int {
	if os.Getenv("FAKE_PODMAN") == "broken" {
		fmt.Fprintln(os.Stderr, "cannot set up namespace: no subuid ranges found")
		return 125
	}
	socket, ok := strings.CutPrefix(args[len(args)-1], "unix://")
	if !ok || args[0] != "--time=0" {
		return 2
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	os.Remove(socket)
	l, err := net.Listen("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.EscapedPath() {
		case "/die":
			os.Exit(3)
		case "/_ping":
			fmt.Fprint(w, "OK")
		case "/v4.0.0/libpod/images/localhost%2Fhere:1/exists":
			w.WriteHeader(http.StatusNoContent)
		case "/v4.0.0/libpod/images/broken/exists":
			w.WriteHeader(http.StatusInternalServerError)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	<-stop
	return 0
}
