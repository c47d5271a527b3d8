package bridge_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"cellblock.io/cellblock/kernels/bridge"
	"cellblock.io/cellblock/kernels/kernelstest"
)

// A bridge by hand listens on TCP, serves any id, and lets no web page of another origin in.
func TestStandaloneBridge(t *testing.T) {
	k := kernelstest.NewFakeKernel(t)
	address := freeAddress(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- bridge.Run(ctx, bridge.Config{ConnectionFile: k.ConnectionFile(), Listen: address, Log: slog.New(slog.DiscardHandler)})
	}()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	k.Start()
	health := getWhenUp(t, "http://"+address+"/healthz", `"kernel":"idle"`)
	if !strings.Contains(health, `"status":"ok"`) {
		t.Errorf("healthz: %s", health)
	}
	var model struct {
		ID, Name     string
		State        string `json:"execution_state"`
		LastActivity string `json:"last_activity"`
	}
	text := getWhenUp(t, "http://"+address+"/api/kernels/1-2-3-4-5", "")
	if err := json.Unmarshal([]byte(text), &model); err != nil || model.ID != "1-2-3-4-5" || model.Name != "fake" || model.State != "idle" {
		t.Errorf("model %s: %v", text, err)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000000Z", model.LastActivity); err != nil {
		t.Error(err)
	}
	for path, status := range map[string]int{"/api/kernels/odd": 404, "/api/kernels/odd/channels": 404, "/elsewhere": 404} {
		if got, _ := get(t, "http://"+address+path); got != status {
			t.Errorf("%s: %d", path, got)
		}
	}
	_, resp, err := websocket.DefaultDialer.Dial("ws://"+address+"/api/kernels/1-2-3-4-5/channels", http.Header{"Origin": {"http://evil.example"}})
	if err == nil || resp.StatusCode != http.StatusForbidden {
		t.Errorf("a foreign page: %v", err)
	}
	ws, _, err := websocket.DefaultDialer.Dial("ws://"+address+"/api/kernels/1-2-3-4-5/channels", nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &conn{T: t, ws: ws}
	defer ws.Close()
	c.run("hello")
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Error(err)
	}
	return resp.StatusCode, string(text)
}

// getWhenUp asks until the answer is 200 and contains want.
func getWhenUp(t *testing.T, url, want string) string {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		if status, body := get(t, url); status == 200 && strings.Contains(body, want) {
			return body
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s never contained %q", url, want)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestConnectionFilesThatAreRefused(t *testing.T) {
	good := map[string]any{"transport": "tcp", "ip": "127.0.0.1", "key": "k", "signature_scheme": "hmac-sha256",
		"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "hb_port": 4, "control_port": 5}
	for name, change := range map[string]func(map[string]any){
		"transport": func(m map[string]any) { m["transport"] = "curve" },
		"scheme":    func(m map[string]any) { m["signature_scheme"] = "hmac-md5" },
		"port":      func(m map[string]any) { m["iopub_port"] = 0 },
		"type":      func(m map[string]any) { m["shell_port"] = "1" },
	} {
		file := make(map[string]any)
		for k, v := range good {
			file[k] = v
		}
		change(file)
		text, err := json.Marshal(file)
		path := filepath.Join(t.TempDir(), "c.json")
		if err == nil {
			err = os.WriteFile(path, text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		err = bridge.Run(t.Context(), bridge.Config{ConnectionFile: path, Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), "connection file") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := bridge.Run(t.Context(), bridge.Config{ConnectionFile: "/nowhere.json", Listen: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a file that is not there")
	}
}
