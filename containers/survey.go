package containers

import (
	"context"
	"strings"
)

// What each kernel gets besides its own limits, as doctor counts with it.
const (
	BridgeMemory = bridgeMemory // bytes
	OOMScore     = oomScore     // of all processes in containers
)

// Survey is what an engine says of itself and of some images.
type Survey struct {
	Capabilities
	Images map[string]ImageSurvey // by the names that were asked for
}

// ImageSurvey is what there is of one image.
type ImageSurvey struct {
	Missing bool
	// Fault says why the image provides no kernelspec; empty for one that does.
	Fault string
	// Layers are the absolute paths of the directories that hold its files, the uppermost first; none where the storage
	// driver keeps them otherwise.
	Layers []string
}

// Look asks the Podman that listens at socket, without changing anything. It waits while Podman is busy with its storage, as
// when it copies images. Errors: kernels.ErrUnavailable when it does
// not answer.
func Look(ctx context.Context, socket string, names []string) (Survey, error) {
	conn, err := connect(ctx, socket)
	if err != nil {
		return Survey{}, err
	}
	defer conn.client.CloseIdleConnections()
	s := Survey{Images: make(map[string]ImageSurvey)}
	if s.Capabilities, err = conn.capabilities(ctx, changeCall); err != nil {
		return Survey{}, err
	}
	for _, name := range names {
		if s.Images[name], err = conn.lookAt(ctx, name); err != nil {
			return Survey{}, err
		}
	}
	return s, nil
}

func (c connection) lookAt(ctx context.Context, name string) (ImageSurvey, error) {
	report, err := c.image(ctx, name, changeCall)
	if err != nil || report == nil {
		return ImageSurvey{Missing: err == nil}, err
	}
	var s ImageSurvey
	if _, err := parseSpec(report.ID, report.Labels); err != nil {
		s.Fault = err.Error()
	}
	if report.GraphDriver != nil && report.GraphDriver.Name == "overlay" {
		s.Layers = append(s.Layers, report.GraphDriver.Data["UpperDir"])
		if lower := report.GraphDriver.Data["LowerDir"]; lower != "" {
			s.Layers = append(s.Layers, strings.Split(lower, ":")...)
		}
	}
	return s, nil
}
