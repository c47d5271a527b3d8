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
	if slices.Equal(os.Args[1:], []string{"system", "migrate"}) {
		os.Exit(migrate())
	}
	if i := slices.Index(os.Args, "service"); i > 0 {
		os.Exit(program(os.Args[i+1:]))
	}
	goleak.VerifyTestMain(m)
}

// migrate behaves as "podman system migrate" does when there is a container whose processes have been killed.
func migrate() int {
	if err := os.WriteFile(os.Getenv("FAKE_PODMAN"), nil, 0o600); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	fmt.Fprintln(os.Stderr, "kill container: No such process")
	return 125
}

// program behaves as "podman system service --time=0 unix://SOCKET" does; FAKE_PODMAN=broken makes it fail as it does
// for a user without subordinate ids, and the path of a file that does not exist as it does when all of its processes
// have been killed: until migrate.
func program(args []string) int {
	if os.Getenv("FAKE_PODMAN") == "broken" {
		fmt.Fprintln(os.Stderr, "cannot set up namespace: no subuid ranges found")
		return 125
	}
	if file := os.Getenv("FAKE_PODMAN"); file != "" {
		if _, err := os.Stat(file); err != nil {
			fmt.Fprintf(os.Stderr, `level=error msg="invalid internal status, try resetting the pause process with \"%s system migrate\": `+
				`could not find any running process: no such process"`+"\n", os.Args[0])
			return 1
		}
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
