//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// person is somebody with a token, calling a gateway's REST interface.
type person struct {
	url, token string
}

// answer is what one call gave.
type answer struct {
	status int
	header http.Header
	body   string
}

// call makes one request with a body of JSON, or none when it is "".
func (p person) call(t *testing.T, method, path, body string) answer {
	t.Helper()
	got, err := p.try(method, path, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return got
}

// try is call for other goroutines than the test's own.
func (p person) try(method, path, body string) (answer, error) {
	return p.do(method, path, body, http.Header{})
}

// do makes one request with headers of its own.
func (p person) do(method, path, body string, header http.Header) (answer, error) {
	request, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Header = header
	request.Header.Set("Authorization", "Bearer "+p.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	return answer{status: response.StatusCode, header: response.Header, body: string(content)}, err
}

// expect makes a request that must give that status, and reads its JSON into a map (nil for an empty body).
func (p person) expect(t *testing.T, status int, method, path, body string) map[string]any {
	t.Helper()
	got := p.call(t, method, path, body)
	if got.status != status {
		t.Fatalf("%s %s: %d instead of %d: %s", method, path, got.status, status, got.body)
	}
	var content map[string]any
	if got.body != "" {
		if err := json.Unmarshal([]byte(got.body), &content); err != nil {
			t.Fatalf("%s %s: %v: %s", method, path, err, got.body)
		}
	}
	return content
}

// newKernel starts a kernel of the default kind and returns its id. It is deleted when the test ends.
func (p person) newKernel(t *testing.T) string {
	t.Helper()
	id, _ := p.expect(t, http.StatusCreated, "POST", "/api/kernels", "{}")["id"].(string)
	t.Cleanup(func() { p.remove(t, id) })
	return id
}

// remove deletes a kernel that may have gone already.
func (p person) remove(t *testing.T, id string) {
	t.Helper()
	if got := p.call(t, "DELETE", "/api/kernels/"+id, ""); got.status != http.StatusNoContent && got.status != http.StatusNotFound {
		t.Errorf("DELETE of kernel %s: %d %s", id, got.status, got.body)
	}
}

// state is the kernel's execution state, or "404" when it does not exist.
func (p person) state(t *testing.T, id string) string {
	t.Helper()
	got := p.call(t, "GET", "/api/kernels/"+id, "")
	if got.status != http.StatusOK {
		return strconv.Itoa(got.status)
	}
	var model struct {
		State string `json:"execution_state"`
	}
	if err := json.Unmarshal([]byte(got.body), &model); err != nil {
		t.Fatalf("model of kernel %s: %v: %s", id, err, got.body)
	}
	return model.State
}

// killKernel does kill -9 to the Python process of a kernel, found from outside through its container.
func (g *gateway) killKernel(t *testing.T, id string) {
	t.Helper()
	if err := syscall.Kill(g.processOf(t, id, "kernel", "ipykernel"), syscall.SIGKILL); err != nil {
		t.Fatalf("kill the kernel: %v", err)
	}
}

// processOf finds the process that runs a program, by a word of its command line, in one of a kernel's two containers.
func (g *gateway) processOf(t *testing.T, id, role, program string) int {
	t.Helper()
	pids := g.podman(t, "ps", "--filter", "label=io.cellblock.instance="+g.name, "--filter", "label=io.cellblock.kernel-id="+id,
		"--filter", "label=io.cellblock.role="+role, "--format", "{{.Pid}}")
	if len(pids) != 1 {
		t.Fatalf("kernel %s has %d running containers for its %s", id, len(pids), role)
	}
	for _, pid := range sameNamespace(t, pids[0]) {
		command, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline") // gone already: not the one
		if bytes.Contains(command, []byte(program)) {
			return pid
		}
	}
	t.Fatalf("no %s in the %s container of kernel %s", program, role, id)
	return 0
}

// sameNamespace lists the processes in the PID namespace of the given one, the youngest first: where an init process
// names the kernel on its own command line, the kernel is met before it.
func sameNamespace(t *testing.T, pid string) (pids []int) {
	t.Helper()
	own, err := os.Readlink("/proc/" + pid + "/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if space, _ := os.Readlink("/proc/" + entry.Name() + "/ns/pid"); space == own {
			if n, err := strconv.Atoi(entry.Name()); err == nil {
				pids = append([]int{n}, pids...)
			}
		}
	}
	return pids
}
