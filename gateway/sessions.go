package gateway

import (
	"errors"
	"net/http"
	"net/url"

	"cellblock.io/cellblock/kernels"
)

// sessionModel is a session as Jupyter clients know it.
type sessionModel struct {
	ID       string         `json:"id"`
	Path     string         `json:"path"`
	Name     string         `json:"name"`
	Type     string         `json:"type"`
	Kernel   kernelModel    `json:"kernel"`
	Notebook *notebookModel `json:"notebook,omitempty"`
}

// notebookModel repeats path and name for clients of the first version of this interface.
type notebookModel struct {
	Path string `json:"path"`
	Name string `json:"name"`
}

func sessionOf(s kernels.SessionModel) sessionModel {
	m := sessionModel{ID: s.ID, Path: s.Path, Name: s.Name, Type: s.Type, Kernel: modelOf(s.Kernel)}
	if s.Type == "notebook" {
		m.Notebook = &notebookModel{Path: s.Path, Name: s.Name}
	}
	return m
}

// sessionID is the id in the path. One of the wrong form is refused as an unknown one is.
func (c *call) sessionID() (string, error) {
	id := c.r.PathValue("id")
	if !kernels.ValidID(id) {
		return "", sessionGone(id)
	}
	return id, nil
}

// ofSession gives an error about the session of that id its final form.
func ofSession(id string, err error) error {
	if errors.Is(err, kernels.ErrNotFound) {
		return sessionGone(id)
	}
	return err
}

func (g *Gateway) listSessions(c *call) error {
	list, err := g.cfg.Kernels.ListSessions(c.ctx(), c.owner())
	if err != nil {
		return err
	}
	models := make([]sessionModel, 0, len(list))
	for _, s := range list {
		models = append(models, sessionOf(s))
	}
	c.json(http.StatusOK, models)
	return nil
}

func (g *Gateway) getSession(c *call) error {
	id, err := c.sessionID()
	if err != nil {
		return err
	}
	s, err := g.cfg.Kernels.GetSession(c.ctx(), c.owner(), id)
	if err != nil {
		return ofSession(id, err)
	}
	c.json(http.StatusOK, sessionOf(s))
	return nil
}

// openSession opens a session or returns the one that its path has; both are 201. The kernel named by id is attached,
// or started under that id when there is none, as jupyter_server 2.21 does.
func (g *Gateway) openSession(c *call) error {
	b, err := readSession(c.body)
	if err != nil {
		return err
	}
	if b.path == nil || *b.path == "" {
		return invalid(`A session needs a "path".`)
	}
	if b.kind == nil || *b.kind == "" {
		return invalid(`A session needs a "type".`)
	}
	req := kernels.SessionRequest{Path: *b.path, Type: *b.kind, Kernel: kernels.StartRequest{Spec: b.spec}}
	if b.name != nil {
		req.Name = *b.name
	}
	ctx, cancel := c.lasting()
	defer cancel()
	if b.kernelID != "" {
		switch _, err := g.cfg.Kernels.Get(ctx, c.owner(), b.kernelID); {
		case errors.Is(err, kernels.ErrNotFound):
			req.Kernel.ID = b.kernelID
		case err != nil:
			return err
		default:
			req.KernelID = b.kernelID
		}
	}
	s, err := g.cfg.Kernels.OpenSession(ctx, c.owner(), req)
	if err != nil {
		return err
	}
	c.w.Header().Set("Location", g.base+"/api/sessions/"+url.PathEscape(s.ID))
	c.json(http.StatusCreated, sessionOf(s))
	return nil
}

func (g *Gateway) changeSession(c *call) error {
	id, err := c.sessionID()
	if err != nil {
		return err
	}
	b, err := readSession(c.body)
	if err != nil {
		return err
	}
	ctx, cancel := c.lasting()
	defer cancel()
	s, err := g.cfg.Kernels.ChangeSession(ctx, c.owner(), id, kernels.SessionPatch{
		Path: b.path, Name: b.name, Type: b.kind, KernelID: b.kernelID, Spec: b.spec,
	})
	if err != nil {
		return ofSession(id, err)
	}
	c.json(http.StatusOK, sessionOf(s))
	return nil
}

func (g *Gateway) closeSession(c *call) error {
	id, err := c.sessionID()
	if err != nil {
		return err
	}
	ctx, cancel := c.lasting()
	defer cancel()
	if err := g.cfg.Kernels.CloseSession(ctx, c.owner(), id); err != nil {
		return ofSession(id, err)
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

// sessionFields is what clients say about a session; nil is what they leave open.
type sessionFields struct {
	path, name, kind *string
	kernelID, spec   string // the id wins
}

// readSession reads the body of POST and PATCH, in the present form and in the first one, which had "notebook".
func readSession(body []byte) (sessionFields, error) {
	var f sessionFields
	o, err := parseObject(body)
	if err != nil {
		return f, err
	}
	kernel, err1 := o.object("kernel")
	notebook, err2 := o.object("notebook")
	var err3, err4, err5, err6, err7 error
	f.path, err3 = o.optional("path", maxSessionText)
	f.name, err4 = o.optional("name", maxSessionText)
	f.kind, err5 = o.optional("type", maxName)
	f.kernelID, err6 = kernel.text("id", maxName)
	f.spec, err7 = kernel.text("name", maxName)
	if err := errors.Join(err1, err2, err3, err4, err5, err6, err7); err != nil {
		return f, err
	}
	if notebook != nil {
		if err := f.fromNotebook(notebook); err != nil {
			return f, err
		}
	}
	return f, wantedID(f.kernelID)
}

// fromNotebook fills in what the first form of the interface said elsewhere.
func (f *sessionFields) fromNotebook(o object) error {
	path, err1 := o.optional("path", maxSessionText)
	name, err2 := o.optional("name", maxSessionText)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if path == nil {
		path = name
	}
	if f.path == nil {
		f.path = path
	}
	if f.kind == nil && path != nil {
		kind := "notebook"
		f.kind = &kind
	}
	return nil
}
