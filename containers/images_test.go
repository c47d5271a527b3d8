package containers_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"cellblock.io/cellblock/containers"
)

const kernelJSON = `{"argv":["python"],"display_name":"Python 3","language":"python","interrupt_mode":"message","metadata":{"cull_idle_timeout":90}}`

func TestParseSpec(t *testing.T) {
	labels := func(change map[string]string) map[string]string {
		l := map[string]string{
			containers.LabelSpecName: "python3", containers.LabelKernelspec: kernelJSON, containers.LabelResource + "logo-svg.svg": "PHN2Zy8+",
		}
		for k, v := range change {
			l[k] = v
		}
		return l
	}
	many := make(map[string]string)
	for _, c := range "abcdefghijklmnopqrst" {
		many[containers.LabelResource+string(c)] = ""
	}
	tests := []struct {
		name   string
		change map[string]string
		err    string
	}{
		{"whole", nil, ""},
		{"no name", map[string]string{containers.LabelSpecName: ""}, "kernelspec.name"},
		{"a path as name", map[string]string{containers.LabelSpecName: "../x"}, "kernelspec.name"},
		{"no JSON", map[string]string{containers.LabelKernelspec: ""}, "no kernel.json"},
		{"two objects", map[string]string{containers.LabelKernelspec: kernelJSON + kernelJSON}, "no kernel.json"},
		{"a list", map[string]string{containers.LabelKernelspec: "[]"}, "no kernel.json"},
		{"null", map[string]string{containers.LabelKernelspec: "null"}, "display_name"},
		{"no language", map[string]string{containers.LabelKernelspec: `{"display_name":"P"}`}, "language"},
		{"env of numbers", map[string]string{containers.LabelKernelspec: `{"display_name":"P","language":"p","env":{"A":1}}`}, "no kernel.json"},
		{"odd interrupt", map[string]string{containers.LabelKernelspec: `{"display_name":"P","language":"p","interrupt_mode":"x"}`}, "interrupt_mode"},
		{"long JSON", map[string]string{containers.LabelKernelspec: kernelJSON + strings.Repeat(" ", 70_000)}, "bytes"},
		{"a path as file", map[string]string{containers.LabelResource + "../x": ""}, "names no file"},
		{"a hidden file", map[string]string{containers.LabelResource + ".x": ""}, "names no file"},
		{"no base64", map[string]string{containers.LabelResource + "x": "?"}, "base64"},
		{"a large file", map[string]string{containers.LabelResource + "x": strings.Repeat("A", 1<<20)}, "at most"},
		{"many files", many, "at most"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			spec, err := containers.ParseSpec("id", labels(tt.change))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || spec.Name != "python3" || spec.Image != "id" || string(spec.JSON) != kernelJSON || spec.Interrupt != "message" ||
				spec.CullIdleTimeout != 90*time.Second || string(spec.Resources["logo-svg.svg"]) != "<svg/>" {
				t.Errorf("%+v, %v", spec, err)
			}
		})
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add("python3", kernelJSON, "logo-svg.svg", "PHN2Zy8+")
	f.Add("x", `{"display_name":"P","language":"p","metadata":{"cull_idle_timeout":1e300}}`, "a", "")
	f.Fuzz(func(t *testing.T, name, text, file, content string) {
		spec, err := containers.ParseSpec("id", map[string]string{
			containers.LabelSpecName: name, containers.LabelKernelspec: text, containers.LabelResource + file: content,
		})
		if err == nil && (strings.ContainsAny(spec.Name, "/\\ ") || spec.CullIdleTimeout < 0) {
			t.Errorf("%+v", spec)
		}
	})
}

// Images are looked at again after a while, and read again only when the name stands for another one.
func TestSpecsCache(t *testing.T) {
	p := newPodman(t)
	e := p.connect(t)
	read := func(wantImage string, wantLooks int) {
		t.Helper()
		specs, err := e.Specs(t.Context())
		if err != nil || len(specs) != 1 || specs["python3"].Image != wantImage {
			t.Errorf("kernelspecs %+v, %v", specs, err)
		}
		if n := p.count("GET /images/"); n != wantLooks {
			t.Errorf("looked %d times, want %d", n, wantLooks)
		}
	}
	read("sha1", 1)
	read("sha1", 1)
	p.on("GET /images/*/json", answer(200, strings.Replace(specImage, "sha1", "sha2", 1)))
	read("sha1", 1)
	containers.Expire(e)
	read("sha2", 2)
	p.on("GET /images/*/json", answer(200, `{"Id":"sha2"}`)) // labels of a known image are not read again
	containers.Expire(e)
	read("sha2", 3)
}

func TestSpecsOfBadImages(t *testing.T) {
	p := newPodman(t)
	p.cfg.Images = []string{"gone", "plain", "double", "python"}
	var log bytes.Buffer
	p.cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	p.on("GET /images/gone/json", answer(404, `{"response":404,"message":"no such image"}`))
	p.on("GET /images/plain/json", answer(200, `{"Id":"plain"}`))
	p.on("GET /images/double/json", answer(200, specImage))
	e := p.connect(t)
	specs, err := e.Specs(t.Context())
	if err != nil || len(specs) != 1 {
		t.Errorf("kernelspecs %+v, %v", specs, err)
	}
	for _, name := range []string{"image=gone", "image=plain", "image=python"} {
		if strings.Count(log.String(), name) != 1 {
			t.Errorf("the log does not say what is wrong with %s: %s", name, &log)
		}
	}
	p.cfg.Images = p.cfg.Images[:2]
	_, err = p.connect(t).Specs(t.Context())
	if err == nil || !strings.Contains(err.Error(), "image gone: there is no such image") || !strings.Contains(err.Error(), "image plain") {
		t.Errorf("no usable image: %v", err)
	}
	p.cfg.Images = nil
	if _, err := p.connect(t).Specs(t.Context()); err == nil {
		t.Error("no image is no error")
	}
}
