package gateway

import (
	"context"
	"errors"
	"net/http"

	"cellblock.io/cellblock/auth"
	"cellblock.io/cellblock/kernels"
)

// identify asks who has the credential.
func (g *Gateway) identify(ctx context.Context, raw string, by way) (caller, error) {
	ask := g.cfg.Auth.Verify
	if by == byCookie {
		ask = g.cfg.Auth.Session
	}
	id, err := ask(ctx, raw)
	switch {
	case errors.Is(err, auth.ErrInvalidCredential):
		return caller{}, errBad
	case err != nil:
		return caller{}, err
	case !kernels.Owner(id.Name).Valid():
		return caller{}, refuse(http.StatusForbidden, "account", "This account's name cannot own kernels.")
	}
	return caller{Identity: id, way: by, raw: raw}, nil
}

// authenticate fills in who is calling and refuses what a browser may have been made to send.
func (g *Gateway) authenticate(c *call) error {
	raw, by, err := credential(c.r, g.sessionCookie(c.r))
	if err != nil {
		return err
	}
	if c.who, err = g.identify(c.ctx(), raw, by); err != nil {
		return err
	}
	if err := c.checkOrigin(g); err != nil {
		return err
	}
	if by == byCookie && unsafeMethod(c.r.Method) {
		return checkXSRF(c.r, "")
	}
	return nil
}
