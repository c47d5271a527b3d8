package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cellblock.io/cellblock/kernels"
)

// timeFormat is the only form of a time that Jupyter's gateway client can read.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// kernelModel is a kernel as Jupyter clients know it.
type kernelModel struct {
	ID             string        `json:"id"`
	Name           string        `json:"name"`
	LastActivity   string        `json:"last_activity"`
	ExecutionState kernels.State `json:"execution_state"`
	Connections    int           `json:"connections"`
	Reason         string        `json:"reason,omitempty"`
}

func modelOf(k kernels.Kernel) kernelModel {
	last := k.LastActivity
	if last.IsZero() {
		last = k.Created
	}
	state := k.State
	if state == "" {
		state = kernels.Starting
	}
	return kernelModel{ID: k.ID, Name: k.Spec, LastActivity: timestamp(last), ExecutionState: state,
		Connections: k.Connections, Reason: k.Reason}
}

func timestamp(t time.Time) string { return t.UTC().Format(timeFormat) }

// kernelID is the id in the path. One of the wrong form is refused as an unknown one is.
func (c *call) kernelID() (string, error) {
	id := c.r.PathValue("id")
	if !kernels.ValidID(id) {
		return "", kernelGone(id)
	}
	return id, nil
}

// ofKernel gives an error about the kernel of that id its final form. Of one that was the caller's own it may say how it
// ended; all others look alike.
func ofKernel(id string, err error) error {
	if errors.Is(err, kernels.ErrNotFound) {
		gone := kernelGone(id)
		gone.message = sentence(err, gone.message)
		return gone
	}
	return err
}

func (g *Gateway) listKernels(c *call) error {
	list, err := g.cfg.Kernels.List(c.ctx(), c.owner())
	if err != nil {
		return err
	}
	models := make([]kernelModel, 0, len(list))
	for _, k := range list {
		models = append(models, modelOf(k))
	}
	c.json(http.StatusOK, models)
	return nil
}

// kernel looks up the kernel that the path names, with its owner.
func (g *Gateway) kernel(c *call) (kernels.Kernel, error) {
	id, err := c.kernelID()
	if err != nil {
		return kernels.Kernel{}, err
	}
	k, err := g.cfg.Kernels.Get(c.ctx(), c.owner(), id)
	if err != nil {
		return kernels.Kernel{}, ofKernel(id, err)
	}
	return k, nil
}

func (g *Gateway) getKernel(c *call) error {
	k, err := g.kernel(c)
	if err != nil {
		return err
	}
	c.json(http.StatusOK, modelOf(k))
	return nil
}

// startKernel answers as soon as the kernel is recorded. A caller that has gone meanwhile will never ask for it
// (clients do not repeat a start), so it is stopped again.
func (g *Gateway) startKernel(c *call) error {
	req, err := startRequest(c.body, g.cfg.EnvAllow)
	if err != nil {
		return err
	}
	k, err := g.cfg.Kernels.Start(c.ctx(), c.owner(), req)
	if err != nil {
		return err
	}
	if gone := c.ctx().Err(); gone != nil {
		ctx, cancel := c.lasting()
		defer cancel()
		return errors.Join(gone, g.cfg.Kernels.Stop(ctx, c.owner(), k.ID))
	}
	c.w.Header().Set("Location", g.base+"/api/kernels/"+url.PathEscape(k.ID))
	c.json(http.StatusCreated, modelOf(k))
	return nil
}

// startRequest reads the body of a start. The wanted id may also come the way of Enterprise Gateway, as a variable, and
// so comes the time that Jupyter's own server gives a kernel.
func startRequest(body []byte, allow kernels.EnvAllow) (kernels.StartRequest, error) {
	var req kernels.StartRequest
	o, err := parseObject(body)
	if err != nil {
		return req, err
	}
	sent, err1 := o.object("env")
	spec, err2 := o.text("name", maxName)
	id, err3 := o.text("kernel_id", maxName)
	_, err4 := o.text("path", maxSessionText)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return req, err
	}
	env, err := kernelEnv(sent, allow)
	if err != nil {
		return req, err
	}
	if id == "" {
		if id, err = sent.text("KERNEL_ID", maxName); err != nil {
			return req, err
		}
	}
	timeout, err := sent.text("KERNEL_LAUNCH_TIMEOUT", maxName)
	return kernels.StartRequest{Spec: spec, ID: id, Env: env, Timeout: seconds(timeout)}, errors.Join(err, wantedID(id))
}

// seconds reads a length of time as old clients write it, for which they have no rules: 0 when it is none.
func seconds(text string) time.Duration {
	s, err := strconv.ParseFloat(text, 64)
	if err != nil || !(s > 0 && s < maxSeconds) {
		return 0
	}
	return time.Duration(s * float64(time.Second))
}

// wantedID refuses an id of a client's choice that has not the form of one.
func wantedID(id string) error {
	if id != "" && !kernels.ValidID(id) {
		return invalid("The id wanted for the kernel does not have the form of a UUID.")
	}
	return nil
}

func (g *Gateway) interruptKernel(c *call) error {
	return c.change(func(ctx context.Context, id string) error {
		if err := g.cfg.Kernels.Interrupt(ctx, c.owner(), id); err != nil {
			return err
		}
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

func (g *Gateway) restartKernel(c *call) error {
	return c.change(func(ctx context.Context, id string) error {
		k, err := g.cfg.Kernels.Restart(ctx, c.owner(), id)
		if err != nil {
			return err
		}
		c.json(http.StatusOK, modelOf(k))
		return nil
	})
}

func (g *Gateway) stopKernel(c *call) error {
	return c.change(func(ctx context.Context, id string) error {
		if err := g.cfg.Kernels.Stop(ctx, c.owner(), id); err != nil {
			return err
		}
		c.w.WriteHeader(http.StatusNoContent)
		return nil
	})
}

// change runs do for the kernel in the path. What is begun is finished, also when the caller has gone.
func (c *call) change(do func(ctx context.Context, id string) error) error {
	id, err := c.kernelID()
	if err != nil {
		return err
	}
	ctx, cancel := c.lasting()
	defer cancel()
	return ofKernel(id, do(ctx, id))
}
